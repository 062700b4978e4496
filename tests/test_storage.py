from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.contracts.errors import EXIT_DATA, EXIT_USAGE, ArtifactError, ConfigError, SchemaError
from recsys_spark.contracts.schemas import Column, Table
from recsys_spark.frames import conform, empty_frame
from recsys_spark.privacy.search import Wanted, search
from recsys_spark.storage import MARKER, Storage
from tests.support.frames import rows
from tests.support.stages import ANN_AND_BOB, PEOPLE_TABLE, people

LABEL = "people.parquet"


@pytest.fixture
def storage(spark, tmp_path) -> Storage:
    opened = Storage(str(tmp_path / "a root, مخزن"), spark)  # a name that spellings could differ on
    opened.open_root()
    return opened


def published(storage: Storage, frame, label: str = LABEL):
    manifest = storage.stage_table("people", label, frame, PEOPLE_TABLE)
    storage.publish("people", label, manifest)
    return manifest


def part_file(storage: Storage) -> Path:
    (part,) = Path(storage.root, LABEL).glob("*.parquet")
    return part


def test_a_published_table_reads_back_with_rows_and_sizes_in_its_manifest(spark, storage):
    manifest = published(storage, people(spark, ANN_AND_BOB))
    assert rows(storage.read_table(LABEL, PEOPLE_TABLE)) == ANN_AND_BOB
    assert storage.manifest(LABEL) == manifest
    assert (manifest.rows, manifest.schema) == (2, "id bigint, name string")
    assert manifest.bytes == part_file(storage).stat().st_size


def test_an_empty_table_is_a_table(spark, storage):
    assert published(storage, empty_frame(spark, PEOPLE_TABLE)).rows == 0
    assert rows(storage.read_table(LABEL, PEOPLE_TABLE)) == []


def test_a_later_publish_replaces_all_of_the_earlier(spark, storage):
    published(storage, people(spark, ANN_AND_BOB, partitions=2))
    published(storage, people(spark, [(3, "Cy")]))
    assert rows(storage.read_table(LABEL, PEOPLE_TABLE, verify="full")) == [(3, "Cy")]


def test_text_and_files_are_published_too(storage):
    storage.publish("facts", "facts.json", storage.stage_text("facts", "facts.json", '{"a": 1}'))
    assert storage.read_json("facts.json", verify="full") == {"a": 1}
    write = lambda path: Path(path).write_text("hello")  # noqa: E731
    storage.publish("note", "fit=val/note.txt", storage.stage_file("note", "fit=val/note.txt", write))
    assert Path(storage.path("fit=val/note.txt")).read_text() == "hello"


def test_the_fingerprint_is_that_of_the_rows_not_of_their_order_or_partitions(spark, storage):
    many = [(number, f"name {number}") for number in range(50)]
    contents = [
        published(storage, people(spark, sample, partitions)).content
        for sample, partitions in ((many, 1), (many[::-1], 1), (many, 7))
    ]
    assert len(set(contents)) == 1
    changed = published(storage, people(spark, [*many[:-1], (49, None)])).content
    assert changed != contents[0]


def test_a_table_without_manifest_is_not_there(spark, storage):
    published(storage, people(spark, ANN_AND_BOB))
    Path(storage.root, LABEL + ".manifest.json").unlink()
    with pytest.raises(ArtifactError, match="is missing or was not finished") as caught:
        storage.read_table(LABEL, PEOPLE_TABLE)
    assert caught.value.exit_code == EXIT_DATA


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": []}', '{"files": [{"name": 1}]}', "\xff"])
def test_a_damaged_manifest_counts_as_none(storage, text):
    Path(storage.root, LABEL + ".manifest.json").write_bytes(text.encode("latin-1"))
    assert storage.manifest(LABEL) is None


def test_a_shortened_part_file_is_found_by_its_size(spark, storage):
    published(storage, people(spark, ANN_AND_BOB))
    part = part_file(storage)
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"is damaged|differs from its manifest"):
        storage.read_table(LABEL, PEOPLE_TABLE)


def test_a_part_file_that_went_or_came_is_found(spark, storage):
    published(storage, people(spark, ANN_AND_BOB))
    part = part_file(storage)
    added = part.with_name("part-99999-added.parquet")
    added.write_bytes(part.read_bytes())
    with pytest.raises(ArtifactError, match=r"differs from its manifest in part-99999-added\.parquet"):
        storage.require(LABEL)
    added.unlink()
    part.unlink()
    with pytest.raises(ArtifactError, match="run stage 'people' again with --force"):
        storage.require(LABEL)


@pytest.mark.parametrize(
    ("digests_by", "has_checksums", "said"),
    [
        ("driver", True, "differs from its manif"),
        ("executors", True, "cannot be read whole"),
        ("executors", False, "differs from its manif"),
    ],
)
def test_a_flipped_byte_is_found_by_full_verification_alone(
    spark, storage, monkeypatch, digests_by, has_checksums, said
):
    if digests_by == "executors":
        monkeypatch.setattr("recsys_spark.file_facts._SMALL_BYTES", 0)
    published(storage, people(spark, ANN_AND_BOB))
    part = part_file(storage)
    content = bytearray(part.read_bytes())
    content[10] ^= 0xFF
    part.write_bytes(content)
    if not has_checksums:  # Hadoop keeps them on local disks only
        part.with_name(f".{part.name}.crc").unlink()
    storage.require(LABEL, verify="size")
    with pytest.raises(ArtifactError, match=said):
        storage.require(LABEL, verify="full")


def test_a_flipped_byte_of_a_json_artifact_is_found_by_full_verification(storage):
    storage.publish("facts", "facts.json", storage.stage_text("facts", "facts.json", '{"a": 1}'))
    Path(storage.root, "facts.json").write_text('{"a": 2}')
    assert storage.read_json("facts.json") == {"a": 2}
    with pytest.raises(ArtifactError, match=r"facts\.json differs"):
        storage.read_json("facts.json", verify="full")


def test_a_table_of_another_version_is_refused(spark, storage):
    published(storage, people(spark, ANN_AND_BOB))
    newer = Table(grain=("id",), columns=(Column("id", "bigint", "who"),))
    with pytest.raises(ArtifactError, match="columns of another version; run stage 'people' again"):
        storage.read_table(LABEL, newer)


def test_a_root_that_holds_something_else_is_refused(spark, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    for root in (tmp_path, tmp_path / "letter.txt"):
        with pytest.raises(ConfigError, match="already holds something else") as caught:
            Storage(str(root), spark).open_root()
        assert caught.value.exit_code == EXIT_USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_an_empty_folder_and_a_root_of_ours_are_accepted(spark, tmp_path):
    Storage(str(tmp_path), spark).open_root()
    assert json.loads((tmp_path / MARKER).read_text()) == {"format": 1}
    Storage(str(tmp_path), spark).open_root()


def test_a_root_is_named_with_or_without_scheme_and_slash(spark, tmp_path):
    published(Storage(tmp_path.as_uri() + "/", spark), people(spark, ANN_AND_BOB))
    assert rows(Storage(str(tmp_path), spark).read_table(LABEL, PEOPLE_TABLE)) == ANN_AND_BOB


def test_a_root_may_have_signs_of_a_pattern_in_its_name(spark, tmp_path):
    storage = Storage(str(tmp_path / "[new] {shop} 1"), spark)
    storage.open_root()
    published(storage, people(spark, ANN_AND_BOB))
    assert rows(storage.read_table(LABEL, PEOPLE_TABLE, verify="full")) == ANN_AND_BOB
    assert rows(storage.materialise("people", "kept", people(spark, ANN_AND_BOB), partition_by="name")) == ANN_AND_BOB
    assert [found.place for found in search(spark, storage.root, Wanted(("ann-of-x",))).found] == []


def test_sweep_removes_what_one_stage_staged(spark, storage):
    storage.stage_text("one", "a.json", "{}")
    storage.stage_text("two", "b.json", "{}")
    storage.sweep("one")
    staging = Path(storage.root, "_staging")
    assert [path.name for path in staging.iterdir()] == ["two"]
    storage.sweep("two")
    assert not staging.exists()


def test_a_frame_that_breaks_the_schema_is_refused(spark):
    with pytest.raises(SchemaError, match=r"people lacks \['name'\]; the frame has \['id'\]"):
        conform(spark.createDataFrame([(1,)], "id bigint"), PEOPLE_TABLE, "people")
    with pytest.raises(SchemaError, match="people: id is int, not bigint"):
        conform(spark.createDataFrame([(1, "Ann")], "id int, name string"), PEOPLE_TABLE, "people")


def test_a_conformed_frame_has_the_columns_of_the_table_in_order(spark):
    frame = spark.createDataFrame([("x", "Ann", 1)], "other string, name string, id bigint")
    assert conform(frame, PEOPLE_TABLE, "people").columns == ["id", "name"]


def test_rows_of_another_process_among_the_files_of_a_table_are_found(spark, storage):
    folder = Path(storage.root, "_staging", "people", LABEL)

    def beside_a_process_that_should_be_dead(batches):
        for batch in batches:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_batches([batch]), folder / "part-of-another.parquet")
            yield batch

    frame = people(spark, ANN_AND_BOB).mapInArrow(beside_a_process_that_should_be_dead, PEOPLE_TABLE.ddl)
    with pytest.raises(ArtifactError, match="wrote people.parquet with 2 rows, but 4 lie in its files"):
        storage.stage_table("people", LABEL, frame, PEOPLE_TABLE)
    assert storage.manifest(LABEL) is None
