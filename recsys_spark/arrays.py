"""NumPy verbs that kernels of several folders share: pairs as integers, look-ups, places within groups, a hash."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: what SplitMix64 adds in a step

_ITEM_BITS = 32  # a pair of row and item as one integer


def pair_keys(rows: Ints, items: Ints) -> Ints:
    """One integer per pair, which orders pairs by row, then item."""
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
    return np.arange(len(groups)) - np.searchsorted(groups, groups)


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
