"""Rows of one value stay together: in training while they change places, in evaluation where ranks meet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.contracts.errors import ConfigError, SchemaError
from recsys_spark.manifest import SUFFIX
from tests.training.published import ENGINES, EVEN, by_rank, flat, publish, read, reader

pytestmark = pytest.mark.torch

Groups = Sequence[Sequence[int]]  # for each row group the sizes of its runs
LAYOUTS: list[Groups] = [[[3, 1, 4, 2, 5]], [[4, 4], [1, 1, 1, 7], [6]], [[2, 9], [3], [1, 5, 2], [8, 8], [1]]]
CASES = [
    pytest.param(groups, ranks, id=f"{'+'.join(map(str, groups))}-{ranks}") for groups in LAYOUTS for ranks in (1, 2, 3)
]
KEPT = {"columns": ("row", "query"), "keep_together": "query"}


def publish_runs(folder: Path, groups: Groups) -> str:
    """Rows numbered through, runs numbered downwards from 99, so that their order is not that of the values."""
    folder.mkdir(parents=True)
    row, run = 0, 99
    schema = pa.schema({"row": pa.int64(), "query": pa.int64()})
    with pq.ParquetWriter(folder / "part-0.parquet", schema) as writer:
        for sizes in groups:
            ids = np.repeat(np.arange(run, run - len(sizes), -1), sizes)
            writer.write_table(pa.table({"row": np.arange(row, row + len(ids)), "query": ids}, schema=schema))
            row, run = row + len(ids), run - len(sizes)
    folder.with_name(folder.name + SUFFIX).write_text("{}")
    return str(folder)


def runs_of(groups: Groups) -> list[list[int]]:
    """The rows of each run."""
    ends = np.cumsum(flat(groups)).tolist()
    return [list(range(end - size, end)) for end, size in zip(ends, flat(groups), strict=True)]


def parts_of(rows: Sequence[int], run: Sequence[int]) -> list[list[int]]:
    """The rows of a run where they follow one another among the rows read."""
    found: list[list[int]] = []
    for before, row in zip([None, *rows], rows, strict=False):
        if row in run and before in run:
            found[-1].append(row)
        elif row in run:
            found.append([row])
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("groups", "ranks"), CASES)
def test_training_keeps_runs_whole_and_in_order_but_for_those_on_the_borders_of_a_rank(tmp_path, groups, ranks, engine):
    path, total = publish_runs(tmp_path / "t.parquet", groups), sum(flat(groups))
    for epoch in range(4):
        found = by_rank(path, ranks, epoch, engine=engine, batch_size=2, shuffle_rows_buffer=6, **KEPT)
        assert [len(batches) for batches in found] == [total // (2 * ranks)] * ranks
        seen = flat(flat(found))
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(range(total))
        for rows in map(flat, found):
            cut = 0
            for run in runs_of(groups):
                parts = parts_of(rows, run)
                cut += len(parts) if parts not in ([], [run]) else 0
                assert all(part == list(range(part[0], part[-1] + 1)) for part in parts if len(part) < len(run))
            assert cut <= 2


@pytest.mark.parametrize("engine", ENGINES)
def test_runs_change_places_in_another_order_every_time(tmp_path, engine):
    path = publish_runs(tmp_path / "t.parquet", [[2] * 10, [2] * 10])  # nothing is left out, so nothing is cut
    epochs = [flat(read(path, epoch, engine=engine, **KEPT)) for epoch in range(5)]
    orders = {tuple(row // 2 for row in rows[::2]) for rows in epochs}
    assert len(orders) == 5
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert any({*order[:10]} != {*range(10)} != {*order[10:]} for order in orders)  # row groups are mixed


@pytest.mark.parametrize("engine", ENGINES)
def test_the_order_of_runs_follows_from_seed_epoch_and_rank_alone(tmp_path, engine):
    path = publish_runs(tmp_path / "t.parquet", LAYOUTS[2])
    given = {"shuffle_rows_buffer": 16, "rank": 1, "world_size": 2, **KEPT}
    order = read(path, 3, engine=engine, **given)
    assert order == read(path, 3, engine=engine, workers=5, **given)
    assert order == read(path, 3, engine="arrow", **given)
    assert order != read(path, 3, engine=engine, **given | {"seed": 2})
    assert order != read(path, 4, engine=engine, **given)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_resumed_epoch_of_runs_is_the_tail_of_the_whole_one(tmp_path, shuffle):
    path = publish_runs(tmp_path / "t.parquet", LAYOUTS[2])
    given = {"shuffle": shuffle, "shuffle_rows_buffer": 9, "rank": 1, "world_size": 2, **KEPT}
    whole = read(path, 2, **given)
    assert len(whole) >= 4
    assert [read(path, 2, skip, **given) for skip in range(len(whole) + 1)] == [
        whole[skip:] for skip in range(len(whole) + 1)
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("groups", "ranks"), CASES)
def test_evaluation_gives_each_run_to_one_rank_and_all_ranks_as_many_batches(tmp_path, groups, ranks, engine):
    path, total = publish_runs(tmp_path / "t.parquet", groups), sum(flat(groups))
    found = by_rank(path, ranks, engine=engine, shuffle=False, **KEPT)
    assert flat(flat(found)) == list(range(total))
    assert len({len(batches) for batches in found}) == 1
    for run in runs_of(groups):
        assert [set(run) & set(flat(batches)) for batches in found].count(set()) == ranks - 1
    largest = max(flat(groups))
    assert all(abs(len(flat(batches)) - total / ranks) <= largest for batches in found)


def test_a_rank_may_be_left_without_rows(tmp_path):
    path = publish_runs(tmp_path / "t.parquet", [[1], [9]])
    assert by_rank(path, 2, batch_size=8, shuffle=False, **KEPT) == [[[*range(8)], [8, 9]], [[], []]]


def test_without_it_single_rows_change_places_as_the_seed_says(tmp_path):
    path = publish(tmp_path / "t.parquet", [[12]])
    places = np.random.default_rng((1, 2, 1, 0)).permutation(12)  # seed, epoch, rank from 1, window
    assert flat(read(path, epoch=2)) == np.argsort(places).tolist()


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"keep_together": "query"}, ConfigError, r"keep_together must be one of \('row',\), got 'query'"),
        ({"keep_together": "days", "columns": ("days",)}, SchemaError, "column 'days' holds lists"),
    ],
)
def test_a_column_that_cannot_keep_rows_together_is_refused(tmp_path, given, error, said):
    with pytest.raises(error, match=said):
        reader(publish(tmp_path / "t.parquet", EVEN), **given)
