"""What `status`, `lineage`, `prune` and `rollback` say and do; none of them needs Spark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import lineage as lineage_job
from jobs import prune as prune_job
from jobs import rollback as rollback_job
from jobs import status
from jobs.pipeline import command_parser
from recsys_spark.contracts.errors import ArtifactError, ConfigError, LockedError
from recsys_spark.runs.lineage import lineage, lineage_tree, lineage_values
from recsys_spark.runs.lock import LockRules, locked
from recsys_spark.runs.prune import prune, rollback
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.status import status_of, status_table
from recsys_spark.source_files import source_digests
from recsys_spark.storage import Storage
from tests.support.shops import Shop

RULES = LockRules(600)


def states(shop: Shop, *pairs: str) -> dict[str, str]:
    return {stage.name: stage.state for stage in status_of(shop.stages, shop.config(*pairs)).stages}


def why(shop: Shop, name: str, *pairs: str) -> list[tuple[str, str]]:
    found = {stage.name: stage for stage in status_of(shop.stages, shop.config(*pairs)).stages}
    return [(reason.kind, reason.text) for reason in found[name].reasons]


def test_a_finished_run_is_fresh_and_tells_when_it_was_made(shop):
    shop.run()
    status = status_of(shop.stages, shop.config())
    assert {stage.state for stage in status.stages} == {"fresh"}
    assert (status.run, status.unfinished, status.owner) == (status.current, None, None)
    assert all(stage.when.startswith("20") and stage.seconds >= 0 for stage in status.stages)
    table = status_table(status)
    assert f"run {status.run}, current" in table
    assert json.loads(json.dumps(status.values()))["stages"][0]["name"] == "ingest"


def test_a_stale_stage_says_which_key_which_file_or_which_output(shop):
    shop.run()
    assert why(shop, "clean", "queries.hist_max=9", "seed=2") == [("config", "queries.hist_max, seed changed")]
    assert why(shop, "ingest", "queries.hist_max=9") == []
    shop.source.write_text("other")
    assert why(shop, "ingest") == [("input", f"{shop.source} changed")]
    (shop.root / "current" / "lists.json").unlink()
    ((kind, text),) = why(shop, "recommend")
    assert kind == "outputs"
    assert "lists.json differs from its manifest" in text
    shop.source.unlink()
    assert why(shop, "ingest")[0][0] == "input"


def test_a_change_of_code_is_named(shop, monkeypatch):
    shop.run()
    for module in ("recsys_spark.stage", "recsys_spark.runs.reasons"):
        monkeypatch.setattr(f"{module}.code_digest", lambda name: "new")
    assert why(shop, "clean") == [("code", "code changed")]


def test_a_fresh_stage_behind_a_stale_one_may_change(shop):
    shop.run()
    shop.source.write_text("other")
    status = status_of(shop.stages, shop.config())
    assert [stage.waits_for for stage in status.stages] == [(), ("ingest",), ()]
    assert "may change with ingest" in status_table(status)


def test_what_is_not_there_is_missing_and_what_another_process_does_is_running(shop):
    shop.failing.add("recommend")
    with pytest.raises(ZeroDivisionError):
        shop.run()
    assert states(shop) == {"ingest": "fresh", "clean": "fresh", "recommend": "missing"}
    root = RunRoot(str(shop.root))
    with locked(root.fs, root.lock_path(shop.ids()[0]), "recsys run", RULES) as lock:
        lock.at_stage("recommend")
        assert states(shop)["recommend"] == "running"
        assert "at work: process" in status_table(status_of(shop.stages, shop.config()))
        with pytest.raises(LockedError, match=r"held by process .* at stage recommend\)"):
            shop.run()


def test_the_status_of_nothing_is_an_error(shop):
    with pytest.raises(ArtifactError, match="holds no run yet"):
        status_of(shop.stages, shop.config())


def test_the_lineage_reaches_back_to_the_source_files_with_their_digests(shop):
    shop.run()
    storage = Storage(str(shop.root / "current"))
    found = lineage(storage, "lists")
    (source, digest), *others = source_digests([str(shop.source)]).items()
    assert others == []
    assert list(found) == ["lists.json", "fit=full/cleaned.json", "lines.json", source]
    assert found["lines.json"].inputs == {source: digest}
    assert found["lists.json"].content == storage.manifest("lists.json").content
    lines = lineage_tree(found).splitlines()
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 4, 6]
    assert lines[3].split() == [str(shop.source), "digest", digest]
    assert lineage_values(found)["artifact"] == "lists.json"


def test_the_lineage_names_what_was_replaced_or_lost_since(shop):
    shop.run()
    before = Storage(str(shop.root / "current")).manifest("lines.json").content
    shop.source.write_text("c")
    shop.run(last=1, run="current", force=True)
    (shop.root / "current" / "fit=full" / "cleaned.json.manifest.json").unlink()
    storage = Storage(str(shop.root / "current"))
    assert "(not there now; was" in lineage_tree(lineage(storage, "lists.json"))
    shop.run(last=2, run="current")
    shop.source.write_text("d")
    shop.run(last=1, run="current", force=True)
    assert f"replaced since, was {before}" not in lineage_tree(lineage(storage, "lists.json"))
    assert "replaced since, was" in lineage_tree(lineage(storage, "lists.json"))


def test_an_artifact_that_the_run_lacks_is_an_error_that_names_its_form(shop):
    shop.run()
    storage = Storage(str(shop.root / "current"))
    with pytest.raises(ArtifactError, match=r"no artifact 'rankings'; it is one for each model, split: rankings_"):
        lineage(storage, "rankings")
    with pytest.raises(ArtifactError, match="no artifact 'nothing'"):
        lineage(storage, "nothing")


@pytest.fixture
def many(shop) -> Shop:
    """Five complete runs."""
    for replicates in range(100, 105):
        shop.run(f"evaluation.replicates={replicates}")
    assert len(shop.ids()) == 5
    return shop


def test_rollback_points_at_the_complete_run_before_or_at_the_one_named(many):
    root, ids = RunRoot(str(many.root)), many.ids()
    assert rollback(root, None, RULES, "test").id == many.pointer() == ids[3]
    assert (many.root / "current").readlink() == Path("runs", ids[3])
    assert rollback(root, None, RULES, "test").id == ids[2]
    assert rollback(root, ids[4], RULES, "test").id == many.pointer() == ids[4]
    rollback(root, ids[0], RULES, "test")
    with pytest.raises(ConfigError, match="no complete run before"):
        rollback(root, None, RULES, "test")
    with pytest.raises(ConfigError, match="has no run 'x'"):
        rollback(root, "x", RULES, "test")


def test_rollback_refuses_a_run_that_lost_what_it_held(many):
    root, ids = RunRoot(str(many.root)), many.ids()
    (many.root / "runs" / ids[3] / "lists.json.manifest.json").unlink()
    with pytest.raises(ConfigError, match=f"run '{ids[3]}' no longer holds what recommend made"):
        rollback(root, None, RULES, "test")
    assert many.pointer() == ids[4]


def test_rollback_refuses_an_unfinished_run(shop):
    shop.run()
    shop.source.write_text("c")
    shop.run(last=1)
    with pytest.raises(ConfigError, match="is not complete"):
        rollback(RunRoot(str(shop.root)), shop.ids()[1], RULES, "test")


def test_prune_leaves_the_newest_and_the_current_and_tells_the_bytes_that_go(many):
    root, ids = RunRoot(str(many.root)), many.ids()
    rollback(root, ids[0], RULES, "test")
    planned = prune(root, 2, RULES, "test", dry_run=True)
    assert many.ids() == ids
    before = sum(path.stat().st_size for path in {p.stat().st_ino: p for p in files(many.root)}.values())
    removed = prune(root, 2, RULES, "test")
    after = sum(path.stat().st_size for path in {p.stat().st_ino: p for p in files(many.root)}.values())
    assert [each.run for each in removed] == ids[1:3]
    assert many.ids() == [ids[0], *ids[3:]]
    assert sum(each.bytes for each in removed) == sum(each.bytes for each in planned) == before - after > 0
    assert many.pointer() == ids[0]


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and "current" not in path.parts]


def test_prune_leaves_what_is_locked_and_what_will_be_gone_on_with(many):
    many.source.write_text("c")
    many.run(last=1)
    root, ids = RunRoot(str(many.root)), many.ids()
    with locked(root.fs, root.lock_path(ids[1]), "recsys run", RULES):
        prune(root, 1, RULES, "test")
        assert many.ids() == [*ids[:2], *ids[4:]]  # the first is what the locked one is based on
    prune(root, 1, RULES, "test")
    assert many.ids() == ids[4:]
    assert [each.why for each in prune(root, 1, RULES, "test", unfinished=True)] == ["unfinished"]
    assert many.ids() == ids[4:5]


def test_prune_removes_an_unfinished_run_that_a_complete_one_came_after(shop):
    shop.run()
    shop.source.write_text("c")
    shop.run(last=1)
    dead = shop.ids()[1]
    shop.run(run="new")
    assert [each.run for each in prune(RunRoot(str(shop.root)), 3, RULES, "test")] == [dead]


@pytest.mark.parametrize("number", [0, 1, 3, 6])
def test_a_removal_that_was_interrupted_is_ended_by_the_next(many, monkeypatch, number):
    root, ids, left = RunRoot(str(many.root)), many.ids(), [number]
    remove = root.fs.rm

    def die(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        remove(*args, **options)

    monkeypatch.setattr(root.fs, "rm", die)
    with pytest.raises(KeyboardInterrupt):
        prune(root, 4, RULES, "test")
    monkeypatch.undo()
    assert many.ids() == ids[1:]
    assert (many.root / "runs" / ids[0]).exists()
    assert [each.why for each in prune(root, 4, RULES, "test")] == ["half removed"]
    assert not (many.root / "runs" / ids[0]).exists()


def test_a_lost_pointer_means_the_newest_complete_run(many):
    (many.root / "current.json").unlink()
    assert RunRoot(str(many.root)).current().id == many.ids()[-1]
    many.run("evaluation.replicates=104")
    assert (many.ran, len(many.ids())) == ([], 5)


def test_the_commands_print_what_they_found_and_start_no_spark(many, monkeypatch, capsys):
    monkeypatch.setattr("recsys_spark.session.get_session", None)
    monkeypatch.setattr("recsys_spark.command_line.get_session", None)
    ids = many.ids()

    def said(*words: str) -> str:
        arguments = command_parser().parse_args([*words, "--set", f"paths.processed={many.root}"])
        commands[arguments.command](arguments)
        return capsys.readouterr().out

    commands = {
        "status": lambda given: status.status(many.stages, given),
        "lineage": lineage_job.show_lineage,
        "rollback": rollback_job.roll_back,
        "prune": prune_job.remove_runs,
    }
    assert json.loads(said("status", "--json"))["current"] == ids[4]
    assert f"run {ids[0]}; current is {ids[4]}" in said("status", "--run", ids[0])
    assert set(json.loads(said("lineage", "lists", "--json"))["origins"]) > {"lists.json", "lines.json"}
    assert said("rollback").startswith(f"current is {ids[3]}, completed 20")
    assert said("prune", "--dry-run", "--keep", "3").startswith(f"would remove {ids[0]} (old): ")
    assert said("prune").splitlines()[-1].startswith("removed 2 runs: ")
    with pytest.raises(ConfigError, match="--keep must be at least 1"):
        said("prune", "--keep", "0")
