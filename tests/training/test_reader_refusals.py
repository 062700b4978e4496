from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from recsys_spark.contracts.errors import ArtifactError, ConfigError, PipelineError, SchemaError
from recsys_spark.manifest import SUFFIX
from tests.training.published import (
    ENGINES,
    EVEN,
    flat,
    publish,
    publish_one,
    read,
    reader,
)
from training.row_groups import MANIFEST_SUFFIX

pytestmark = pytest.mark.torch


def test_an_object_store_is_read_by_arrow_and_refused_by_petastorm(tmp_path):
    publish(tmp_path / "t.parquet", [[4, 4]])
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path), "/reader-test", recursive=True)
    path = "memory:///reader-test/t.parquet"
    assert flat(read(path, shuffle=False)) == list(range(8))
    with pytest.raises(ConfigError, match="engine petastorm reads local files, not /reader-test/t.* use engine arrow"):
        reader(path, engine="petastorm")


def test_petastorm_is_refused_where_it_cannot_work(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="whose name holds one of .* use engine arrow"):
        reader(publish(tmp_path / "a#b" / "t.parquet", EVEN), engine="petastorm")
    monkeypatch.setattr("pyarrow.__version__", "15.0.2")
    with pytest.raises(ConfigError, match=r"wants pyarrow below 15, has 15\.0\.2; use engine arrow"):
        reader(publish(tmp_path / "t.parquet", EVEN), engine="petastorm")


def test_what_is_no_published_table_is_refused(tmp_path):
    assert MANIFEST_SUFFIX == SUFFIX
    path = publish(tmp_path / "t.parquet", EVEN)
    with pytest.raises(ArtifactError, match=r"x\.parquet is no published table: .* run the stage that writes it"):
        reader([path, str(tmp_path / "x.parquet")])
    Path(path + SUFFIX).unlink()
    with pytest.raises(ArtifactError, match="is no published table"):
        reader(path)
    Path(path + SUFFIX).write_text("{}")
    (Path(path) / "part-00001.snappy.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"part-00001\.snappy\.parquet is damaged"):
        reader(path)


def test_fewer_rows_than_ranks_are_refused(tmp_path):
    path = publish(tmp_path / "t.parquet", [[1, 0], [1]])
    assert reader(path, world_size=2).batches_per_epoch == 1
    with pytest.raises(ConfigError, match=r"has 2 rows, 3 ranks need at least one each; run fewer ranks"):
        reader(path, world_size=3)
    with pytest.raises(ConfigError, match=r"has 0 rows, 1 ranks"):
        reader(publish(tmp_path / "empty.parquet", [[0]]))


@pytest.mark.parametrize(
    ("columns", "wanted", "said"),
    [
        ({"a": [1, 2]}, "b", r"lacks column 'b'; it has \['a'\]"),
        ({"a": ["x", "y"]}, "a", "column 'a' of .* is string; a trainer takes integers"),
        ({"a": [1, None]}, "a", "column 'a' of .* holds nulls; fill them"),
        ({"a": [1.0, None]}, "a", "column 'a' of .* holds nulls"),
        ({"a": [True, None]}, "a", "column 'a' of .* holds nulls"),
        ({"a": [[1, 2], None]}, "a", "column 'a' of .* holds (nulls|lists of different lengths)"),
        ({"a": [[1, 2], [3, None]]}, "a", "column 'a' of .* holds nulls"),
        ({"a": [[1, 2], [3]]}, "a", "column 'a' of .* holds lists of different lengths; pad them"),
        ({"a": [[1, 2, 3], [3]]}, "a", "column 'a' of .* holds lists of different lengths"),
        ({"a": [[1], []]}, "a", "column 'a' of .* holds (nulls or empty lists|lists of different lengths)"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("write_statistics", [True, False])
def test_columns_that_cannot_be_stacked_are_refused(tmp_path, columns, wanted, said, engine, write_statistics):
    path = publish_one(tmp_path / "t.parquet", pa.table(columns), write_statistics=write_statistics)
    with pytest.raises(SchemaError, match=said):
        list(reader(path, engine=engine, columns=(wanted,), batch_size=1).epoch(0))


def test_tables_in_different_forms_are_refused(tmp_path):
    paths = [publish_one(tmp_path / f"{width}.parquet", pa.table({"a": [list(range(width))]})) for width in (2, 3)]
    with pytest.raises(SchemaError, match=r"holds lists of 3 int64, the row groups before it lists of 2 int64; pad"):
        reader(paths, columns=("a",))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 0}, "seed must be at least 1, got 0"),
        ({"engine": "spark"}, "engine must be one of petastorm | arrow"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to 1, got 2"),
        ({"columns": ("row", "row")}, "columns must be at least one name, each once"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, said):
    with pytest.raises(ConfigError, match=said.replace("|", r"\|")):
        reader("nowhere", **given)


def test_a_position_beyond_the_epoch_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="skip must be from 0 to 6, got 7"):
        reader(publish(tmp_path / "t.parquet", EVEN)).epoch(0, skip=7)


def test_a_petastorm_that_is_built_otherwise_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("training.engines._QUEUE_READER", "_reader_of_another_version")
    found = reader(publish(tmp_path / "t.parquet", EVEN), engine="petastorm")
    with pytest.raises(ConfigError, match="engine petastorm: this version's reader has no _reader.*use engine arrow"):
        next(found.epoch(0))
