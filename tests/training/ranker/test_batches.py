"""Batches of whole queries, cut anew from those of the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys_spark.contracts.errors import ConfigError, DataError
from tests.support.rankers import FEATURES, Candidates, planted, publish_candidates
from training.ranker.batches import QUERY, RankerBatch, columns_of, whole_queries
from training.reader import ParquetReader, ReaderOptions

pytestmark = pytest.mark.torch

WORLD = planted(37)


def candidates_reader(path: str, **given: Any) -> ParquetReader:
    options = {"engine": "arrow", "batch_size": 16, "columns": columns_of(FEATURES), "seed": 1, "shuffle": True}
    return ParquetReader(path, ReaderOptions(**{**options, "keep_together": QUERY, **given}))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return publish_candidates(tmp_path_factory.mktemp("tables") / "t.parquet", WORLD)


def by_query(batches: list[RankerBatch]) -> list[tuple[tuple[int, ...], ...]]:
    """Of each query of each batch the features, as what tells rows apart, in order."""
    found = []
    for batch in batches:
        for number in batch.query.unique().tolist():
            found.append(tuple(tuple(row) for row in batch.features[batch.query == number].tolist()))
    return found


def queries_of(rows: Candidates) -> set[tuple[tuple[int, ...], ...]]:
    return set(by_query([rows.batch()]))


def same(one: RankerBatch, other: RankerBatch) -> bool:
    return all(torch.equal(values, getattr(other, name)) for name, values in vars(one).items())


def test_a_batch_numbers_its_queries_and_stacks_features_in_the_order_asked_for():
    columns = {
        "query_id": torch.tensor([40, 40, 7, 9, 9]),
        "item_idx": torch.tensor([3, 1, 2, 5, 4], dtype=torch.int32),
        "label": torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]),
        "is_repeat": torch.tensor([True, False, True, False, False]),
        "a": torch.arange(5, dtype=torch.float64),
    }
    batch = RankerBatch.of(columns, ("is_repeat", "a"))
    assert batch.query.tolist() == [0, 0, 1, 2, 2]
    assert batch.features.tolist() == [[1, 0], [0, 1], [1, 2], [0, 3], [0, 4]]
    assert {name: values.dtype for name, values in vars(batch).items()} == {
        "query": torch.long, "item": torch.long, "features": torch.float32, "label": torch.float32,
        "is_repeat": torch.bool,
    }  # fmt: skip
    assert len(batch) == 5
    assert len(RankerBatch.of({name: values[:0] for name, values in columns.items()}, ("a",))) == 0
    assert columns_of(("a", "is_repeat")) == ("query_id", "item_idx", "label", "is_repeat", "a")


def test_queries_are_whole_but_for_those_that_the_epoch_cuts(path):
    reader, whole = candidates_reader(path), queries_of(WORLD)
    for epoch in range(5):
        batches = list(whole_queries(reader, FEATURES, epoch))
        assert len(batches) == reader.batches_per_epoch
        assert all(batch.query.unique().tolist() == list(range(int(batch.query[-1]) + 1)) for batch in batches)
        assert sum(map(len, batches)) == 16 * reader.batches_per_epoch
        assert sum(query not in whole for query in by_query(batches)) <= 2
        assert all(0 < len(batch) < 16 + 9 for batch in batches)


def test_a_resumed_epoch_of_whole_queries_is_the_tail_of_the_whole_one(path):
    reader = candidates_reader(path, shuffle_rows_buffer=50, rank=1, world_size=2)
    whole = list(whole_queries(reader, FEATURES, 2))
    for skip in range(len(whole) + 1):
        tail = list(whole_queries(reader, FEATURES, 2, skip))
        assert len(tail) == len(whole) - skip
        assert all(same(one, other) for one, other in zip(tail, whole[skip:], strict=True))


def test_an_epoch_that_is_not_shuffled_is_not_resumed(path):
    with pytest.raises(ConfigError, match="skip must be 0 where the reader does not shuffle, got 1"):
        next(whole_queries(candidates_reader(path, shuffle=False), FEATURES, 0, skip=1))


@pytest.mark.parametrize("num_groups", [1, 4])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_evaluation_sees_each_query_whole_on_one_rank(tmp_path, ranks, num_groups):
    path = publish_candidates(tmp_path / "t.parquet", WORLD, num_groups)
    readers = [candidates_reader(path, shuffle=False, rank=rank, world_size=ranks) for rank in range(ranks)]
    found = [list(whole_queries(reader, FEATURES, 0)) for reader in readers]
    assert len({len(batches) for batches in found}) == 1
    queries = [query for batches in found for query in by_query(batches)]
    assert len(queries) == len(set(queries)) == 37
    assert set(queries) == queries_of(WORLD)


def test_ranks_get_as_many_batches_where_one_has_no_rows(tmp_path):
    long, short = (np.full(size, number) for number, size in enumerate((2, 14)))
    query = np.concatenate([long, short])
    rows = Candidates(query, np.arange(16), query.astype(np.float32), query > 5, np.ones((16, 4), np.float32))
    path = publish_candidates(tmp_path / "t.parquet", rows, num_groups=2)
    readers = [candidates_reader(path, shuffle=False, batch_size=14, rank=rank, world_size=2) for rank in (0, 1)]
    sizes = [[len(batch) for batch in whole_queries(reader, FEATURES, 0)] for reader in readers]
    assert sizes == [[2, 14], [0, 0]]


@pytest.mark.parametrize("skip", [0, 1])
def test_a_query_larger_than_a_batch_is_refused(tmp_path: Path, skip):
    path = publish_candidates(tmp_path / "t.parquet", WORLD)
    with pytest.raises(DataError, match=r"query \d+ has more than 3 candidates, .* raise ranker.batch_rows"):
        list(whole_queries(candidates_reader(path, batch_size=3), FEATURES, 0, skip))
