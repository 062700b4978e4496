from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.baselines.personal import sum_pairs
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import rank_batch
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events
from tests.support.models import GivenScores


def batch_of(seen: list[list[int]]) -> QueryBatch:
    """One query per customer, after all its events."""
    offsets = np.cumsum([0, *(len(items) for items in seen)])
    items = np.array([item for items in seen for item in items], dtype=np.int64)
    events = Events(offsets, items, np.zeros(len(items), dtype=np.int64))
    numbers = np.arange(len(seen))
    return QueryBatch(numbers, np.full(len(seen), MICROS_PER_DAY), numbers, offsets[:-1], offsets[1:], events)


def lists(model, batch, k):
    return {
        found.protocol: [part.tolist() for part in np.split(found.items, found.offsets[1:-1])]
        for found in rank_batch(model, batch, k)
    }


def test_scored_items_come_first_then_popular_ones_and_ties_go_by_index():
    model = GivenScores((5, 4, 3, 2, 1), ((0, 4, 1.0), (0, 2, 1.0 + 1e-9), (0, 3, 2.0)))
    assert lists(model, batch_of([[]]), 4)["all_items"] == [[3, 2, 4, 5]]


def test_first_purchase_lists_mask_what_was_bought_before():
    model = GivenScores((5, 4, 3, 2, 1), ((0, 4, 1.0), (0, 3, 2.0)))
    assert lists(model, batch_of([[3, 5, 5]]), 5)["first_purchase"] == [[4, 2, 1]]


def test_items_that_are_not_eligible_are_never_ranked():
    model = GivenScores((2, 1), ((0, 9, 5.0), (0, 1, 1.0)))
    assert lists(model, batch_of([[9]]), 5)["all_items"] == [[1, 2]]


def test_a_list_is_shorter_where_fewer_items_exist():
    found = lists(GivenScores((1,), ()), batch_of([[1], []]), 3)
    assert (found["all_items"], found["first_purchase"]) == ([[1], [1]], [[], [1]])


def test_the_full_order_reaches_down_to_the_last_item_that_was_never_bought():
    model = GivenScores((5, 4, 3, 2, 1), ((0, 4, 1.0), (0, 3, 2.0)))
    # Order 3 4 5 2 1; of 4, 2 and 1, never bought, the second ends the list.
    assert lists(model, batch_of([[3, 5]]), 2)["masked_seen"] == [[3, 4, 5, 2]]


def test_a_model_of_two_orders_tells_the_never_bought_items_of_the_first_too():
    model = GivenScores((5, 4, 3, 2, 1), ((0, 4, 1.0), (0, 3, 2.0), (0, 2, 3.0)), first=(3.0, 1.0, 2.0))
    found = lists(model, batch_of([[3, 5]]), 2)
    assert (found["first_purchase"], found["masked_new"]) == ([[4, 2]], [[2, 4]])
    assert "masked_new" not in lists(GivenScores((5, 4), ((0, 4, 1.0),)), batch_of([[]]), 2)


@given(
    seen=st.lists(st.lists(st.integers(1, 8), max_size=6), min_size=1, max_size=4),
    scores=st.dictionaries(st.tuples(st.integers(0, 3), st.integers(1, 10)), st.integers(-2, 3), max_size=20),
    popularity=st.permutations(range(1, 9)),
    k=st.integers(1, 10),
)
def test_lists_agree_with_sorting_each_query_by_hand(seen, scores, popularity, k):
    own = {pair: score for pair, score in scores.items() if pair[0] < len(seen)}
    found = lists(
        GivenScores(tuple(popularity), tuple((r, i, float(s)) for (r, i), s in own.items())), batch_of(seen), k
    )
    for row, bought in enumerate(seen):
        for protocol, barred in (("all_items", set()), ("first_purchase", set(bought))):
            scored = sorted((-s, i) for (r, i), s in own.items() if r == row and i in popularity and i not in barred)
            best = [item for _, item in scored][:k]
            expected = best + [i for i in popularity if i not in best and i not in barred][: k - len(best)]
            assert found[protocol][row] == expected


def test_weights_of_equal_pairs_are_added_up():
    scored = sum_pairs(np.array([0, 0, 1, 0]), np.array([7, 3, 7, 7]), np.array([1.0, 2.0, 4.0, 8.0]))
    assert list(zip(scored.rows, scored.items, scored.scores, strict=True)) == [(0, 3, 2.0), (0, 7, 9.0), (1, 7, 4.0)]


def test_earlier_events_are_paired_with_their_queries():
    batch = batch_of([[5, 6], [], [7]])
    rows, positions = batch.earlier()
    assert rows.tolist() == [0, 0, 2]
    assert batch.events.items[positions].tolist() == [5, 6, 7]
    assert batch.days_before(rows, positions) == pytest.approx([1.0, 1.0, 1.0])
