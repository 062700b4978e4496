"""NumPy verbs that kernels of several folders share: pairs as integers, look-ups, order within groups, a hash."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: what SplitMix64 adds in a step

_ITEM_BITS = 32  # a pair of row and item as one integer
_SORTED_TOGETHER = 16  # entries of a group, on average: smaller ones are not worth a call each


def pair_keys(rows: Ints, items: Ints) -> Ints:
    """One integer per pair, which orders pairs by row, then item. rows: below 2^31; items: below 2^32."""
    return (rows << _ITEM_BITS) | items


def rows_of_keys(keys: Ints) -> Ints:
    return keys >> _ITEM_BITS


def items_of_keys(keys: Ints) -> Ints:
    return keys & ((1 << _ITEM_BITS) - 1)


def find(keys: Ints, wanted: Ints) -> tuple[Ints, Flags]:
    """Where each of `wanted` stands in ascending `keys`, and whether it is there; elsewhere the place is 0."""
    if len(keys) == 0:
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    is_there = keys[places] == wanted
    return np.where(is_there, places, 0), is_there


def places_by_size(sizes: Ints) -> Ints:
    """The place of each entry within its group, from 0, for groups of these sizes laid end to end.

    >>> places_by_size(np.array([2, 0, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def places_by_group(groups: Ints) -> Ints:
    """The place of each entry within its group, from 0; groups: of each entry, ascending.

    >>> places_by_group(np.array([4, 4, 7])).tolist()
    [0, 1, 0]
    """
    return np.arange(len(groups)) - starts_of(groups)


def bounds_of_groups(groups: Ints) -> Ints:
    """Where each group begins, and the end of the last, (groups + 1,); groups: of each entry, ascending.

    >>> bounds_of_groups(np.array([4, 4, 7])).tolist()
    [0, 2, 3]
    """
    return np.append(np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1)), len(groups))


def starts_of(groups: Ints) -> Ints:
    """Where the group of each entry begins; groups: of each entry, ascending.

    >>> starts_of(np.array([4, 4, 7])).tolist()
    [0, 0, 2]
    """
    bounds = bounds_of_groups(groups)
    return np.repeat(bounds[:-1], np.diff(bounds))


def order_within(groups: Ints, values: npt.NDArray[np.generic]) -> Ints:
    """The stable order by value within each group; groups: of each entry, ascending.

    As np.lexsort((values, groups)), which takes several times as long: a group that is sorted alone stays in a core's
    cache.

    >>> order_within(np.array([4, 4, 7, 7]), np.array([3.0, 1.0, 9.0, 9.0])).tolist()
    [1, 0, 2, 3]
    """
    bounds = bounds_of_groups(groups)
    if len(groups) < _SORTED_TOGETHER * len(bounds):
        return np.lexsort((values, groups))
    order = np.empty(len(groups), dtype=np.int64)
    for first, last in pairwise(bounds.tolist()):
        order[first:last] = np.argsort(values[first:last], kind="stable")
        order[first:last] += first
    return order


def order_best_first(rows: Ints, items: Ints, scores: npt.NDArray[np.floating]) -> Ints:
    """The order of pairs by row, then descending score, then item: np.lexsort((items, -scores, rows)).

    >>> order_best_first(np.array([1, 1, 0]), np.array([8, 3, 5]), np.array([0.5, 0.5, 0.1])).tolist()
    [2, 1, 0]
    """
    if int(rows.max(initial=0)) >> (63 - _ITEM_BITS):  # such as ids of queries
        rows = np.unique(rows, return_inverse=True)[1]
    keys = pair_keys(rows.astype(np.int64, copy=False), items)
    by_pair = np.argsort(keys, kind="stable")  # most models score in this very order, which it notices
    return by_pair[order_within(rows[by_pair], -scores[by_pair])]


def mix(values: Ints) -> Hashes:
    """A hash that orders values as if at random, the same everywhere.

    One step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): its increment and its finaliser.
    """
    return finalised(values.astype(np.uint64) + GOLDEN)


def finalised(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 alone."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
