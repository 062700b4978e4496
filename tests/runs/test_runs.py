"""Which run a command works in, what is carried over, and when `current` moves."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from jobs.recommend import recommend_alone
from recsys_spark.command_line import open_storage, working_arguments
from recsys_spark.contracts.errors import EXIT_DATA, ArtifactError, ConfigError, LockedError
from recsys_spark.runs.choose import Wanted
from recsys_spark.runs.owner import Owner
from recsys_spark.runs.pipeline import Order, stages_done
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.work import working
from recsys_spark.stage import Outcome
from tests.support.shops import NAMES, Shop

ALL = list(NAMES)


def read(shop: Shop, run: str | None = None) -> str:
    return open_storage(shop.config(), run).read_json("lists.json")["first"]


def broken_off(shop: Shop, stage: str) -> list[str]:
    """A whole run, and one over other lines that failed in the stage; returns their ids."""
    shop.run()
    shop.source.write_text("c")
    shop.failing.add(stage)
    with pytest.raises(ZeroDivisionError):
        shop.run()
    shop.failing.clear()
    return shop.ids()


def test_the_first_command_opens_a_run_that_becomes_current_when_all_is_there(shop):
    shop.run()
    assert shop.ran == ALL
    (run,) = shop.ids()
    assert shop.pointer() == run
    assert (shop.root / "current").readlink() == Path("runs", run)
    assert json.loads((shop.root / "current" / "lists.json").read_text()) == {"first": "A"}
    assert sorted(path.name for path in shop.root.iterdir()) == ["_recsys.json", "current", "current.json", "runs"]
    assert not (shop.root / "runs" / run / "_lock.json").exists()


def test_nothing_runs_and_no_run_is_opened_where_all_is_fresh(shop, caplog):
    shop.run()
    caplog.set_level("INFO")
    shop.run()
    assert shop.ran == []
    assert len(shop.ids()) == 1
    assert [line for line in caplog.messages if "up to date" in line] == [f"{name}: up to date" for name in ALL]


def test_a_change_opens_a_new_run_that_links_what_is_fresh_and_leaves_the_old_one(shop):
    shop.run()
    (old,) = shop.ids()
    before = {path: path.read_bytes() for path in (shop.root / "runs" / old).rglob("*") if path.is_file()}
    shop.run("evaluation.replicates=200")
    assert shop.ran == ["recommend"]
    old, new = shop.ids()
    assert shop.pointer() == new
    assert {path: path.read_bytes() for path in before} == before
    linked = [Path("runs", run, "fit=full", "cleaned.json") for run in (old, new)]
    assert (shop.root / linked[0]).samefile(shop.root / linked[1])
    assert not (shop.root / "runs" / old / "lists.json").samefile(shop.root / "runs" / new / "lists.json")
    stages = RunRoot(str(shop.root)).run(new).stages
    assert [stages[name]["outcome"] for name in ALL] == ["carried over", "carried over", "ran"]


def test_a_stage_behind_a_changed_one_is_carried_over_where_its_input_came_out_equal(shop):
    shop.run()
    shop.source.write_text("b a A")  # other lines, the same words
    shop.run()
    assert shop.ran == ["ingest", "clean"]
    assert len(shop.ids()) == 2


def test_an_unfinished_run_is_gone_on_with_and_readers_keep_the_current_one(shop):
    old, new = broken_off(shop, "recommend")
    assert (shop.pointer(), read(shop)) == (old, "A")
    assert RunRoot(str(shop.root)).run(new).outcome == "failed: ZeroDivisionError: recommend"
    shop.run()
    assert shop.ran == ["recommend"]
    assert shop.ids() == [old, new]
    assert (shop.pointer(), read(shop)) == (new, "C")


def test_a_part_of_the_stages_does_not_replace_a_whole_run(shop):
    shop.run()
    shop.source.write_text("c")
    shop.run(last=2)
    old, new = shop.ids()
    assert shop.pointer() == old
    assert not RunRoot(str(shop.root)).run(new).is_complete
    shop.run()
    assert shop.ran == ["recommend"]
    assert shop.pointer() == new


def test_a_part_is_complete_where_no_more_was_ever_asked_for_and_can_be_added_to(shop):
    shop.run(last=2)
    assert shop.ran == ["ingest", "clean"]
    (run,) = shop.ids()
    assert shop.pointer() == run
    shop.run()
    assert (shop.ran, shop.ids()) == (["recommend"], [run])
    shop.source.write_text("c")
    shop.run(last=2)
    assert shop.pointer() == run  # which by now has recommendations, as the new one does not


def test_what_stands_beside_the_stages_asks_nothing_of_later_runs(shop):
    shop.run(last=2)
    with working(shop.config(), Wanted("recsys monitor", "current")) as work:
        work.outcomes["monitor"] = Outcome("monitor", False, {}, 0.0)
    shop.source.write_text("c")
    shop.run(last=2)
    assert shop.pointer() == shop.ids()[-1]
    assert len(shop.ids()) == 2


def test_stages_before_the_first_are_taken_as_they_are(shop):
    shop.run()
    shop.run("sequences.hist_max=9", "evaluation.replicates=200", first=2)
    assert shop.ran == ["recommend"]
    new = RunRoot(str(shop.root)).run(shop.ids()[1])
    assert [new.stages[name]["outcome"] for name in ALL] == ["carried over", "carried over", "ran"]
    shop.run("sequences.hist_max=9", "evaluation.replicates=200")
    assert shop.ran == ["ingest"]


def test_force_makes_everything_anew_in_a_new_run(shop):
    shop.run()
    shop.run(force=True)
    assert shop.ran == ALL
    assert len(shop.ids()) == 2


def test_a_damaged_artifact_of_the_current_run_is_made_anew_in_a_new_one(shop):
    shop.run()
    (shop.root / "current" / "fit=full" / "cleaned.json").write_text("{}")
    shop.run()
    assert shop.ran == ["clean"]
    assert len(shop.ids()) == 2


def work_alone(shop: Shop, stage: int, run: str | None = None) -> str:
    with working(shop.config(), Wanted("alone", run)) as work:
        work.take_as_they_are(ALL[:stage])
        work.do(shop.stages[stage], force=True)
        return work.record.id


def test_stages_alone_share_a_first_run_that_the_last_of_them_completes(shop):
    first = {work_alone(shop, number) for number in (0, 1)}
    assert not (shop.root / "current.json").exists()
    assert {work_alone(shop, 2)} == first == set(shop.ids()) == {shop.pointer()}


def test_a_stage_alone_works_in_the_unfinished_run_else_in_the_current_one(shop):
    shop.run()
    (old,) = shop.ids()
    assert work_alone(shop, 1) == old
    shop.source.write_text("c")
    shop.run(last=1)
    assert work_alone(shop, 1) == shop.ids()[1]
    assert work_alone(shop, 1, run="current") == old


def test_recommend_alone_goes_on_with_an_unfinished_run_only_where_single_stages_brought_it_so_far(
    shop, monkeypatch, capsys
):
    monkeypatch.setattr("jobs.recommend.STAGE", shop.stages[2])

    def alone(*pairs: str) -> str:
        words = [f"paths.processed={shop.root}", "evaluation.replicates=200", *pairs]
        parser = working_arguments(argparse.ArgumentParser())
        recommend_alone(parser.parse_args([word for pair in words for word in ("--set", pair)]))
        return capsys.readouterr().out

    old, new = broken_off(shop, "clean")
    assert alone() == f"workbook: {shop.root}/current/recommendations.xlsx\n"
    assert (shop.ran[-1], shop.pointer(), read(shop)) == ("recommend", old, "A")
    assert not (shop.root / "runs" / new / "lists.json").exists()
    shop.run(last=2)  # as jobs of single stages do
    alone("recommend.as_of=2011-01-01")
    assert shop.pointer() == old
    assert alone() == f"workbook: {shop.root}/current/recommendations.xlsx\n"
    assert (shop.pointer(), read(shop)) == (new, "C")


def test_a_stage_alone_in_a_new_run_finds_what_it_needs_carried_over(shop):
    shop.run()
    assert work_alone(shop, 2, run="new") == shop.ids()[1] == shop.pointer()


def test_what_was_made_from_other_artifacts_is_not_taken_into_an_unfinished_run(shop):
    old, new = broken_off(shop, "clean")
    with pytest.raises(ArtifactError, match=f"stage 'clean' of run {old} was made from other .* than run {new} holds"):
        work_alone(shop, 2)
    with pytest.raises(ArtifactError, match="stage 'clean'"):  # nothing of it was taken
        work_alone(shop, 2)
    shop.run()
    assert (shop.pointer(), read(shop)) == (new, "C")


def test_readers_read_another_run_when_told_and_say_so(shop, caplog):
    shop.run()
    shop.source.write_text("c")
    shop.run()
    old, new = shop.ids()
    assert (read(shop), read(shop, old), read(shop, "current")) == ("C", "A", "C")
    assert f"reading run {old}; current is {new}" in caplog.text
    with pytest.raises(ConfigError, match=f"has no run 'x'; it has {old}, {new}"):
        read(shop, "x")


def test_readers_read_the_unfinished_run_where_none_is_complete_and_say_so(shop, caplog):
    with pytest.raises(ArtifactError, match="holds no run; make one with `recsys run`") as caught:
        read(shop)
    assert caught.value.exit_code == EXIT_DATA
    shop.failing.add("recommend")
    with pytest.raises(ZeroDivisionError):
        shop.run()
    assert open_storage(shop.config()).read_json("lines.json") == {"words": ["a", "b"]}
    assert f"no run is complete yet: reading the unfinished {shop.ids()[0]}" in caplog.text


def test_run_json_tells_what_was_done_with_what_and_hides_secrets(shop):
    shop.run(
        "session.conf={spark.hadoop.fs.s3a.secret.key: hush, spark.driver.memory: 1g}",
        "session.conf.spark.hadoop.fs.azure.account.key=hush",
    )
    record = json.loads((shop.root / "current" / "run.json").read_text())
    assert record["outcome"] == "done"
    assert record["started"] <= record["ended"]
    assert record["config"]["session"]["conf"]["spark.driver.memory"] == "1g"
    assert "hush" not in json.dumps(record)
    assert set(record["libraries"]) >= {"python", "pyspark"}
    assert record["code"]["version"]
    assert list(record["stages"]) == ALL
    assert (
        record["stages"]["clean"]["bytes_out"] == (shop.root / "current" / "fit=full" / "cleaned.json").stat().st_size
    )
    assert record["stages"]["clean"]["peak_memory"]["driver"] > 1 << 20
    assert [entry["command"] for entry in record["commands"]] == ["test"]


def test_a_run_that_current_points_at_is_complete_though_its_writer_was_killed_before_run_json_said_so(
    shop, monkeypatch
):
    shop.run()
    with monkeypatch.context() as patch:
        point_at = RunRoot.point_at

        def killed_after(root: RunRoot, run: str) -> None:
            point_at(root, run)
            patch.setattr(RunRoot, "write", lambda *_: None)  # nothing is written any more
            raise MemoryError

        patch.setattr(RunRoot, "point_at", killed_after)
        shop.source.write_text("c")
        with pytest.raises(MemoryError):
            shop.run()
    old, new = shop.ids()
    assert shop.pointer() == new
    assert json.loads((shop.root / "current" / "run.json").read_text())["completed"] == ""
    root = RunRoot(str(shop.root))
    assert root.unfinished() is None
    assert root.run(new).is_complete
    shop.run("evaluation.replicates=200")
    assert shop.ids()[:2] == [old, new]
    assert len(shop.ids()) == 3
    assert json.loads((shop.root / "runs" / new / "lists.json").read_text()) == {"first": "C"}


def test_who_lost_the_run_writes_no_run_json_and_moves_no_pointer(shop):
    shop.run()
    shop.source.write_text("c")
    taken = Owner.of_this_process("another").values()

    def lose_the_run() -> None:
        with stages_done(shop.stages, shop.config(), Order("test")) as work:
            (shop.root / "runs" / work.record.id / "_lock.json").write_text(json.dumps(taken))

    with pytest.raises(LockedError, match="was taken from this process"):
        lose_the_run()
    old, new = shop.ids()
    assert shop.pointer() == old
    assert RunRoot(str(shop.root)).run(new).outcome == "running"
