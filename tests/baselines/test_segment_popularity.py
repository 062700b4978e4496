"""Segments: counted against a slow second method, scored by hand, and a planted world of showrooms and categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.query_context import usual_place
from recsys_spark.baselines.ranking import rank_batch
from recsys_spark.baselines.segment_popularity import SegmentPopularity
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events

NORTH, SOUTH, FAR, WEB = 11, -12, 13, 21  # hashes of places


def publish(path: Path, **columns: object) -> FittedTable:
    pq.write_table(pa.table(columns), path)
    return FittedTable(str(path), str(path))


def model_over(folder: Path, segments: list[tuple[str, str, int, float, float]], smoothing: float) -> SegmentPopularity:
    """Items 1 to 6, bought lately 1 to 6 times of 21; items 1 to 3 are of category A, 4 and 5 of B, 6 of none."""
    numbers = list(range(1, 7))
    popularity = publish(folder / "popularity.parquet", item_idx=numbers, num_events=numbers, num_recent_events=numbers)
    categories = publish(folder / "categories.parquet", item_idx=numbers, category=["A", "A", "A", "B", "B", ""])
    names = ("kind", "segment", "item_idx", "num_events", "total")
    columns = dict(zip(names, map(list, zip(*segments, strict=True)), strict=True)) if segments else {}
    empty = {name: pa.array([], kind) for name, kind in zip(names, _KINDS, strict=True)}
    table = publish(folder / "segments.parquet", **{**empty, **columns})
    return SegmentPopularity(FittedPopularity(popularity.path, popularity.content), table, categories, smoothing)


_KINDS = (pa.string(), pa.string(), pa.int64(), pa.float64(), pa.float64())


def asked(*customers: list[tuple[int, int, int]]) -> QueryBatch:
    """A query of each customer after all its events, which are (item, showroom, channel)."""
    offsets = np.cumsum([0, *map(len, customers)])
    flat = np.array([event for own in customers for event in own], dtype=np.int64).reshape(-1, 3)
    events = Events(offsets, flat[:, 0], np.zeros(len(flat), np.int64), None, flat[:, 1], flat[:, 2])
    who = np.arange(len(customers))
    return QueryBatch(who, np.full(len(who), MICROS_PER_DAY), who, offsets[:-1], offsets[1:], events, who + 1)


def scores(model: SegmentPopularity, batch: QueryBatch) -> dict[tuple[int, int], float]:
    found = model.score(batch)
    return dict(zip(zip(found.rows.tolist(), found.items.tolist(), strict=True), found.scores.tolist(), strict=True))


SEGMENTS = [
    ("showroom", str(NORTH), 1, 3.0, 4.0),
    ("showroom", str(NORTH), 2, 1.0, 4.0),
    ("sales_channel", str(WEB), 2, 6.0, 6.0),
    ("category", "A", 3, 2.0, 2.0),
    ("category", "B", 4, 9.0, 10.0),
    ("category", "B", 5, 1.0, 10.0),
]
RECENT = {item: item / 21 for item in range(1, 7)}


def test_a_showroom_is_trusted_by_its_purchases_and_falls_back_to_the_channel_and_then_to_all(tmp_path):
    found = scores(model_over(tmp_path, SEGMENTS, smoothing=4.0), asked([(6, NORTH, WEB)]))  # item 6 has no category
    for item in RECENT:
        channel = ({2: 6.0}.get(item, 0.0) + 4 * RECENT[item]) / (6 + 4)
        showroom = ({1: 3.0, 2: 1.0}.get(item, 0.0) + 4 * channel) / (4 + 4)
        assert found[0, item] == pytest.approx(1000 * showroom)


def test_a_showroom_that_is_no_segment_leaves_the_channel_to_speak(tmp_path):
    found = scores(model_over(tmp_path, SEGMENTS, smoothing=4.0), asked([(6, FAR, WEB)]))
    for item in RECENT:
        assert found[0, item] == pytest.approx(1000 * ({2: 6.0}.get(item, 0.0) + 4 * RECENT[item]) / 10)


def test_categories_are_mixed_as_in_the_purchases_before_the_query(tmp_path):
    found = scores(model_over(tmp_path, SEGMENTS, smoothing=4.0), asked([(1, 0, 0), (4, 0, 0), (5, 0, 0), (6, 0, 0)]))
    share = {3: 1 / 3 * 2 / 2, 4: 2 / 3 * 9 / 10, 5: 2 / 3 * 1 / 10}
    size = 1 / 3 * 2 + 2 / 3 * 10
    for item in RECENT:
        assert found[0, item] == pytest.approx(1000 * (size * share.get(item, 0.0) + 4 * RECENT[item]) / (size + 4))


def test_a_place_and_categories_that_are_both_known_weigh_the_same(tmp_path):
    model = model_over(tmp_path, SEGMENTS, smoothing=4.0)
    found = scores(model, asked([(1, NORTH, 0)], [(6, NORTH, 0)], [(1, 0, 0)]))
    for item in RECENT:
        assert found[0, item] == pytest.approx((found[1, item] + found[2, item]) / 2)


def test_a_query_without_a_segment_is_not_scored_and_gets_recent_popularity(tmp_path):
    batch = asked([], [(6, FAR, 0)], [(77, 0, 0)])
    for segments in (SEGMENTS, []):
        model = model_over(tmp_path, segments, smoothing=4.0)
        assert len(model.score(batch).rows) == 0
        (lists,) = (found for found in rank_batch(model, batch, 6) if found.protocol == "all_items")
        assert lists.items.tolist() == [6, 5, 4, 3, 2, 1] * 3


def test_the_kinds_that_spoke_are_told_with_the_rank_in_the_list(tmp_path):
    found = model_over(tmp_path, SEGMENTS, smoothing=0.0).score(asked([(4, NORTH, 0)], [(1, 0, WEB)]))
    told = {
        (row, item): tuple(int(ranks[place]) for ranks in found.source_ranks.values())
        for place, (row, item) in enumerate(zip(found.rows.tolist(), found.items.tolist(), strict=True))
    }
    assert list(found.source_ranks) == ["showroom", "sales_channel", "category"]
    # Of the first: .45 for item 4, .375 for 1, .125 for 2, .05 for 5; of the second a half each, ties by item.
    assert told == {(0, 4): (1, 0, 1), (0, 1): (2, 0, 2), (0, 2): (3, 0, 3), (0, 5): (4, 0, 4)} | {
        (1, 2): (0, 1, 1),
        (1, 3): (0, 2, 2),
    }


def test_later_events_change_no_usual_place():
    batch = asked([(1, NORTH, 0), (2, SOUTH, 0), (3, SOUTH, 0)])
    early = batch.part(np.array([0, 0]))
    two = QueryBatch(
        early.query_ids, early.micros, early.customers, early.start, np.array([1, 3]), batch.events, early.users
    )
    assert usual_place(two, "showroom").tolist() == [NORTH, SOUTH]
    assert usual_place(two, "sales_channel").tolist() == [0, 0]


def test_places_that_were_used_as_often_tie_by_their_hash_and_histories_without_places_have_none():
    batch = asked([(1, NORTH, WEB), (2, SOUTH, WEB), (3, 0, WEB)], [])
    assert usual_place(batch, "showroom").tolist() == [SOUTH, 0]
    bare = Events(batch.events.offsets, batch.events.items, batch.events.micros)
    without = QueryBatch(batch.query_ids, batch.micros, batch.customers, batch.start, batch.end, bare, batch.users)
    assert usual_place(without, "showroom").tolist() == [0, 0]
