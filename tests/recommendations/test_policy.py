from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.baselines.ranking import Lists
from recsys_spark.recommendations.policy import first_of, turns_of, with_share

SIZES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=4)


def lists_of(items: list[list[int]]) -> Lists:
    """Lists of which the first two items were scored; an item's score is its number, below zero."""
    every = np.array([item for one in items for item in one], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, items)])
    return Lists("all_items", offsets, every, -every.astype(float), np.minimum(np.diff(offsets), 2))


def test_the_first_of_each_list_keep_their_order():
    chosen = first_of(lists_of([[4, 2, 9], [], [7]]), top_n=2)
    assert chosen.rows.tolist() == [0, 0, 2]
    assert chosen.items.tolist() == [4, 2, 7]
    assert chosen.ranks.tolist() == [1, 2, 1]


@given(SIZES, st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), st.integers(1, 8))
def test_lists_with_a_share_are_those_made_item_by_item(sizes, share, top_n):
    """Repeats are numbered from 1, new items from 101; every all_items list has the repeats before the new ones."""
    new = [list(range(101, 101 + number)) for _, number in sizes]
    every = [[*range(1, 1 + number), *others] for (number, _), others in zip(sizes, new, strict=True)]
    lists = lists_of(every)
    chosen = with_share(lists, lists_of(new), lists.items < 100, share, top_n)
    for row, (repeats, others) in enumerate(sizes):
        expected, left, taken = [], list(range(1, 1 + repeats)), list(range(101, 101 + others))
        for place in range(1, top_n + 1):
            wants_new = int(place * share + 0.5) > int((place - 1) * share + 0.5)
            source = (taken or left) if wants_new else (left or taken)
            if source:
                expected.append(source.pop(0))
        own = chosen.rows == row
        assert chosen.items[own].tolist() == expected
        assert chosen.scores[own].tolist() == [-item for item in expected]
        assert chosen.is_scored[own].tolist() == [item in (1, 2, 101, 102) for item in expected] or repeats < 2


def test_a_list_is_as_long_as_there_are_products():
    assert len(turns_of(1, 1, 0.5, 9)) == 2
    assert len(turns_of(0, 0, 0.5, 9)) == 0
