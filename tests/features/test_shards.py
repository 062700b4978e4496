"""Queries meet the events before them, few at a time, and their candidates in the part file beside them."""

import pyarrow.parquet as pq
import pytest

from recsys_spark.baselines import query_batches
from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.features import shards
from recsys_spark.features.shards import shard_features, small_batches
from recsys_spark.part_files import part_names
from recsys_spark.sequences.windows import ORDERS_PER_CUSTOMER
from tests.candidates.test_chunks import ASKED, chunks, write_candidates
from tests.features.test_features import builder_of
from tests.support.frames import frame, rows
from tests.support.sessions import settings_for_a_while
from tests.support.worlds import START


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


@pytest.fixture
def adaptive(spark):
    """Plans are changed while they run, as they are outside tests."""
    with settings_for_a_while(spark, {"spark.sql.adaptive.enabled": "true"}):
        yield


@pytest.mark.usefixtures("adaptive")
def test_each_query_meets_its_candidates_in_several_part_files(spark, tmp_path):
    """The candidates of a query of day n are n % 5 + 1 and 6; one customer has no history."""
    every = [*ASKED, (3, "3", 3 * ORDERS_PER_CUSTOMER + 1, START)]
    lists = {
        query: {"query_id": query, "user_idx": user, "event_time": time, "items": [query % 5 + 1, 6], "positives": [6]}
        for user, _, query, time in every
    }
    for row in lists.values():
        row |= {f"rank_{source}": [1, 2] for source in SOURCES} | {f"score_{source}": [0.5, 0.25] for source in SOURCES}
    folder = str(tmp_path / "candidates")
    write_candidates(frame(spark, CANDIDATES, lists.values(), history=[0]), 3, folder)
    assert len(part_names(folder)) > 1
    for asked in (every, every[::7]):
        found = shard_features(chunks(spark, asked, parts=3), builder_of(tmp_path), folder)
        expected = {(query, item) for _, _, query, _ in asked for item in lists[query]["items"]}
        assert rows(found, "query_id", "item_idx", "label") == sorted((*pair, float(pair[1] == 6)) for pair in expected)
