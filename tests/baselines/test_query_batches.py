"""Parts of a batch hold the events of their own customers and say the same of every query."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.arrays import items_of_keys, rows_of_keys
from recsys_spark.baselines import query_batches as query_batches_module
from recsys_spark.baselines.query_batches import query_batches
from recsys_spark.candidates.retrieve import positive_keys
from recsys_spark.contracts.columns import LIST_LENGTH

HISTORY = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=8).map(sorted)
CUSTOMERS = st.lists(st.tuples(HISTORY, st.lists(st.integers(0, 8), min_size=1, max_size=4)), min_size=1, max_size=6)
LISTS = pa.list_(pa.int64())


def arrow_of(customers):
    """Rows of `with_queries`, of (history, query times) per customer, a history of (time, item) events."""
    lists = {
        "items": [[item for _, item in history] for history, _ in customers],
        "micros": [[time for time, _ in history] for history, _ in customers],
        "showrooms": [[time + item for time, item in history] for history, _ in customers],
        "query_ids": [[10 * who + number for number in range(len(times))] for who, (_, times) in enumerate(customers)],
        "query_micros": [times for _, times in customers],
    }
    columns = {"user_idx": pa.array(range(7, 7 + len(customers))), **{k: pa.array(v, LISTS) for k, v in lists.items()}}
    return pa.RecordBatch.from_pydict(columns)


def batch_of(customers):
    """The same as one batch of queries."""
    [batch] = query_batches(arrow_of(customers))
    return batch


def told(batch):
    """By query: whose it is, what was bought before it and at it, when and where, how often and in which order."""
    bought, positives, events = batch.purchases, positive_keys(batch), batch.events
    for row in range(len(batch)):
        own, of_row = slice(batch.start[row], batch.end[row]), rows_of_keys(bought.keys) == row
        seen = (batch.seen(row), events.micros[own], events.showrooms[own], events.order_number[own])
        pairs = (items_of_keys(bought.keys[of_row]), bought.times[of_row])
        places = (bought.first[of_row], bought.last[of_row], events.first_bought[own], events.order_start[own])
        at_query = items_of_keys(positives[rows_of_keys(positives) == row])
        who = (batch.query_ids[row], batch.micros[row], batch.customers[row], batch.users[row])
        values = (*seen, *pairs, *(place - batch.start[row] for place in places), at_query)
        yield (*who, *(each.tolist() for each in values))


@given(CUSTOMERS, st.integers(1, 5))
def test_a_part_says_of_its_queries_what_the_whole_says(customers, size):
    whole = batch_of(customers)
    parts = [whole.part(slice(first, first + size)) for first in range(0, len(whole), size)]
    assert [query for part in parts for query in told(part)] == list(told(whole))
    every = np.arange(len(whole))[::-2]
    assert list(told(whole.part(every))) == list(told(whole))[::-2]
    for part in parts:
        held = range(part.customers.min(), part.customers.max() + 1)
        assert part.events.items.tolist() == [item for who in held for _, item in customers[who][0]]


def test_a_part_without_queries_has_no_events():
    part = batch_of([([(1, 2)], [3])]).part(slice(1, 1))
    assert (len(part), len(part.events.items), list(told(part))) == (0, 0, [])


def test_a_part_is_bounded_in_queries_too_as_each_takes_a_list(monkeypatch):
    monkeypatch.setattr(query_batches_module, "_PAIRS_PER_BATCH", 3 * LIST_LENGTH)
    one_event = [([(1, 2)], [3, 4]) for _ in range(4)]  # eight queries of one earlier event and a list each
    assert [len(part) for part in query_batches(arrow_of(one_event))] == [2, 2, 2, 2]
