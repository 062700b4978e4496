"""Queries meet the events before them, few at a time."""

import pyarrow.parquet as pq
import pytest

from recsys_spark.baselines import query_batches
from recsys_spark.features import shards
from recsys_spark.features.shards import small_batches
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER
from tests.candidates.test_chunks import ASKED, chunks


@pytest.mark.parametrize(("pairs", "queries"), [(3, 512), (2_000_000, 2), (2_000_000, 512)])
def test_each_query_meets_all_events_before_it(spark, tmp_path, monkeypatch, pairs, queries):
    monkeypatch.setattr(query_batches, "_PAIRS_PER_BATCH", pairs)
    monkeypatch.setattr(shards, "_QUERIES_AT_A_TIME", queries)
    chunks(spark).write.parquet(str(tmp_path / "rows"))
    [file] = (tmp_path / "rows").glob("*.parquet")
    seen = {}
    for arrow in pq.ParquetFile(file).iter_batches(2):
        for batch in small_batches(arrow):
            assert len(batch) <= max(min(pairs // 100, queries), 1)
            for row, query in enumerate(batch.query_ids.tolist()):
                own = slice(batch.start[row], batch.end[row])
                seen[query] = batch.seen(row).tolist()
                assert batch.events.quantities[own].tolist() == seen[query]
    assert seen == {query: [*range(1, query % ORDERS_PER_CUSTOMER + 1)] for _, _, query, _ in ASKED}
