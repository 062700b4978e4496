import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.sequences.windows import MICROS_PER_DAY, Events, window_values

CUSTOMERS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=12).map(sorted), min_size=1, max_size=5
)


def laid_out(customers):
    offsets = np.cumsum([0, *(len(events) for events in customers)])
    flat = [event for events in customers for event in events]
    return Events(
        offsets,
        np.array([item for _, item in flat], dtype=np.int64),
        np.array([day * MICROS_PER_DAY for day, _ in flat], dtype=np.int64),
    )


def pad_left(history, length):
    newest = history[-length:]
    return [0] * (length - len(newest)) + newest


@given(CUSTOMERS)
def test_orders_and_first_purchases_agree_with_a_plain_loop(customers):
    events = laid_out(customers)
    expected = []
    first = 0
    for own in customers:
        days = sorted({day for day, _ in own})
        for day, item in own:
            order_start = first + [d for d, _ in own].index(day)
            bought = first + [i for _, i in own].index(item)
            expected.append((first, order_start, days.index(day) + 1, bought))
        first += len(own)
    found = zip(events.customer_start, events.order_start, events.order_number, events.first_bought, strict=True)
    assert [tuple(int(value) for value in row) for row in found] == expected


@given(CUSTOMERS, st.integers(1, 5))
def test_histories_hold_the_newest_events_strictly_before_the_order(customers, length):
    events = laid_out(customers)
    start, end = events.customer_start, events.order_start
    items, days, lengths = window_values(events, start, end, events.micros, length)
    row = 0
    for own in customers:
        for day, _ in own:
            before = [(d, i) for d, i in own if d < day]
            assert items[row].tolist() == pad_left([i for _, i in before], length)
            assert days[row].tolist() == pad_left([float(day - d) for d, _ in before], length)
            assert lengths[row] == min(len(before), length)
            row += 1
