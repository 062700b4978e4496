from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_spark import freshness
from recsys_spark import stage as stage_module
from recsys_spark.contracts.errors import EXIT_USAGE, ArtifactError, StageGraphError
from recsys_spark.stage import StageIO, run_stage
from recsys_spark.storage import Storage
from tests.support.frames import rows
from tests.support.stages import (
    ANN_AND_BOB,
    COPY,
    FACTS,
    NOTE,
    PEOPLE,
    PEOPLE_TABLE,
    config_for,
    people,
    stage_of,
)


@pytest.fixture
def storage(spark, tmp_path) -> Storage:
    return Storage(str(tmp_path / "root"), spark)


class World:
    """Two stages, people -> copy, that count how often they ran."""

    def __init__(self, storage: Storage, *pairs: str) -> None:
        self.storage = storage
        self.config = config_for(Path(storage.root), *pairs)
        self.rows = ANN_AND_BOB
        self.partitions = 1
        self.ran: list[str] = []
        self.people = stage_of(self._write_people)
        self.copy = stage_of(self._write_copy, name="copy", reads=(PEOPLE,), writes=(COPY,), sections=("queries",))

    def _write_people(self, io, config):
        self.ran.append("people")
        return {"rows": io.write(PEOPLE, people(io.spark, self.rows, self.partitions))}

    def _write_copy(self, io, config):
        self.ran.append("copy")
        return {"rows": io.write(COPY, io.read(PEOPLE))}

    def run(self, *pairs: str, **options) -> list[str]:
        """Run both; returns the names of the stages that did."""
        self.ran = []
        config = config_for(Path(self.storage.root), *pairs) if pairs else self.config
        for stage in (self.people, self.copy):
            run_stage(stage, config, self.storage, **options)
        return self.ran


@pytest.fixture
def world(storage) -> World:
    built = World(storage)
    assert built.run() == ["people", "copy"]
    return built


def test_what_is_up_to_date_is_skipped_and_keeps_its_metrics(world):
    assert world.run() == []
    outcome = run_stage(world.people, world.config, world.storage)
    assert (outcome.skipped, outcome.metrics) == (True, {"rows": 2})


def test_force_runs_it_anyway(world):
    assert world.run(force=True) == ["people", "copy"]


def test_a_change_of_a_section_runs_the_stages_that_use_it(world):
    assert world.run("sequences.hist_max=9") == ["people"]
    assert world.run("queries.hist_max=9", "sequences.hist_max=9") == ["copy"]


def test_a_change_of_the_seed_runs_everything(world):
    assert world.run("seed=2") == ["people", "copy"]


def test_a_change_of_the_code_runs_everything(world, monkeypatch):
    monkeypatch.setattr(freshness, "code_digest", lambda module: f"new code of {module}")
    assert world.run() == ["people", "copy"]


def test_a_change_of_the_content_runs_what_reads_it(world):
    world.rows = [(3, "Cy")]
    run_stage(world.people, world.config, world.storage, force=True)
    assert world.run() == ["copy"]
    assert rows(world.storage.read_table("copy.parquet", PEOPLE_TABLE)) == [(3, "Cy")]


def test_the_same_content_in_other_partitions_leaves_what_reads_it_fresh(world):
    world.partitions = 3
    run_stage(world.people, world.config, world.storage, force=True)
    assert world.run() == []


def test_a_damaged_output_is_made_again(world):
    (part,) = Path(world.storage.root, "people.parquet").glob("*.parquet")
    part.write_bytes(b"PAR1")
    assert world.run() == ["people"]


def test_a_lost_manifest_or_record_runs_the_stage_again(world):
    root = Path(world.storage.root)
    (root / "people.parquet.manifest.json").unlink()
    assert world.run() == ["people"]
    (root / "_stages" / "copy.json").write_text("{ half")
    assert world.run() == ["copy"]


def test_a_change_of_a_source_file_runs_the_stage(storage, tmp_path):
    source = tmp_path / "lines.csv"
    source.write_text("1,Ann\n")
    ran = []

    def run(io, config):
        ran.append(source.read_text())
        return {"rows": io.write(PEOPLE, people(io.spark, ANN_AND_BOB))}

    stage = stage_of(run, sources=lambda config: [str(source)])
    config = config_for(Path(storage.root))
    run_stage(stage, config, storage)
    run_stage(stage, config, storage)
    source.write_text("2,Bob\n")
    run_stage(stage, config, storage)
    assert ran == ["1,Ann\n", "2,Bob\n"]
    manifest = storage.manifest("people.parquet")
    assert list(manifest.inputs) == [f"source:{source}"]


def test_the_manifest_tells_where_an_artifact_comes_from(world):
    manifest = world.storage.manifest("copy.parquet")
    assert manifest.stage == "copy"
    assert manifest.inputs == {"people.parquet": world.storage.manifest("people.parquet").content}
    assert manifest.config == {"queries": {"hist_max": 200, "max_positives": 64}}
    assert manifest.seed == 1
    assert {"python", "pyspark", "pyarrow"} <= set(manifest.libraries)
    assert manifest.code_digest
    assert manifest.created.endswith("+00:00")


def test_an_undeclared_artifact_is_refused(storage):
    storage.open_root()
    io = StageIO(stage_of(lambda io, config: {}), storage, config_for(Path(storage.root)))
    with pytest.raises(StageGraphError, match="stage 'people' reads 'copy' without declaring it") as caught:
        io.read(COPY)
    assert caught.value.exit_code == EXIT_USAGE
    with pytest.raises(StageGraphError, match="writes 'facts' without declaring it"):
        io.write_json(FACTS, {})


def test_wrong_keys_of_an_artifact_are_refused(storage):
    io = StageIO(stage_of(lambda io, config: {}, writes=(NOTE,)), storage, config_for(Path(storage.root)))
    with pytest.raises(StageGraphError, match=r"takes the keys \['fit'\], got \[\]"):
        io.write_file(NOTE, lambda path: None)


def test_an_input_that_no_stage_wrote_is_an_error_that_names_both(storage):
    stage = stage_of(lambda io, config: {"rows": io.read(PEOPLE).count()}, name="copy", reads=(PEOPLE,), writes=())
    with pytest.raises(ArtifactError, match=r"stage 'copy' needs people\.parquet"):
        run_stage(stage, config_for(Path(storage.root)), storage)


def test_a_stage_reads_back_what_it_wrote_and_that_is_no_input(storage):
    def run(io, config):
        io.write(PEOPLE, people(io.spark, ANN_AND_BOB))
        io.write_json(FACTS, {"rows": io.read(PEOPLE).count()})
        return io.read_json(FACTS)

    outcome = run_stage(stage_of(run, writes=(PEOPLE, FACTS)), config_for(Path(storage.root)), storage)
    assert outcome.metrics == {"rows": 2}
    assert storage.manifest("facts.json").inputs == {}


def test_files_are_published_under_their_keys(storage):
    def run(io, config):
        io.write_file(NOTE, lambda path: Path(path).write_text("hello") and None, fit="val")
        return {"text": Path(io.path(NOTE, fit="val")).read_text()}

    outcome = run_stage(stage_of(run, writes=(NOTE,)), config_for(Path(storage.root)), storage)
    assert outcome.metrics == {"text": "hello"}
    assert Path(storage.root, "fit=val", "note.txt").exists()


def test_materialised_frames_are_gone_when_the_stage_ends(storage):
    def run(io, config):
        kept = io.materialise("half", people(io.spark, ANN_AND_BOB))
        return {"rows": io.write(PEOPLE, kept)}

    run_stage(stage_of(run), config_for(Path(storage.root)), storage)
    assert not Path(storage.root, "_staging").exists()
    assert rows(storage.read_table("people.parquet", PEOPLE_TABLE)) == ANN_AND_BOB


def test_a_stage_that_fails_leaves_the_earlier_artifact_and_no_staging(world):
    def fail(io, config):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(stage_of(fail), world.config, world.storage, force=True)
    assert rows(world.storage.read_table("people.parquet", PEOPLE_TABLE)) == ANN_AND_BOB
    assert not Path(world.storage.root, "_staging").exists()


def test_checkpoints_outlive_a_stage_that_fails_and_go_when_it_is_done(storage, monkeypatch):
    seen, fails = [], [True, False]

    def run(io, config):
        folder = Path(io.checkpoint_folder("model"))
        seen.append(folder.exists())
        folder.mkdir(parents=True, exist_ok=True)
        if fails.pop(0):
            raise ZeroDivisionError
        return {"rows": io.write(PEOPLE, people(io.spark, ANN_AND_BOB))}

    config = config_for(Path(storage.root))
    with pytest.raises(ZeroDivisionError):
        run_stage(stage_of(run), config, storage)
    run_stage(stage_of(run), config, storage)
    assert not Path(storage.root, "_checkpoints").exists()
    fails += [True, False]
    with pytest.raises(ZeroDivisionError):
        run_stage(stage_of(run), config, storage, force=True)
    for asking in (stage_module, freshness):
        monkeypatch.setattr(asking, "code_digest", lambda _: "other")
    run_stage(stage_of(run), config, storage)  # what other code has trained is not gone on with
    assert seen == [False, True, False, False]


def test_the_record_of_a_stage_is_json_that_names_inputs_and_outputs(world):
    record = json.loads(Path(world.storage.root, "_stages", "copy.json").read_text())
    assert set(record) == {"recipe", "inputs", "outputs", "metrics", "seconds"}
    assert set(record["outputs"]) == {"copy.parquet"}


def test_a_stage_that_asked_for_an_optional_input_runs_again_once_it_is_there(storage):
    said = []

    def run(io, config):
        said.append(io.has(PEOPLE))
        io.write_json(FACTS, {})
        return {}

    asking = stage_of(run, name="asking", reads=(PEOPLE,), writes=(FACTS,))
    writing = stage_of(lambda io, config: {"rows": io.write(PEOPLE, people(io.spark, ANN_AND_BOB))})
    config = config_for(Path(storage.root))
    run_stage(asking, config, storage)
    run_stage(asking, config, storage)
    assert said == [False]
    run_stage(writing, config, storage)
    run_stage(asking, config, storage)
    run_stage(asking, config, storage)
    assert said == [False, True]
