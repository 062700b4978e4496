"""Quick lower bounds on the n-th largest value of each column or row, from the maxima of disjoint pieces of it.

The n largest of the maxima belong to n different entries, so n values reach the n-th of them. With several times more
pieces than n it is close to the n-th largest value, and far cheaper to get.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Float = TypeVar("_Float", np.float32, np.float64)
_SLICES = 256  # pieces of a column, at least two for each wanted value
_RUN = 4  # entries in a piece of a CSR row


def nth_largest_of_columns(values: npt.NDArray[_Float], n: int) -> npt.NDArray[_Float]:
    """A lower bound on each column's n-th largest value, 0 where it has no n values: that of the maxima of slices."""
    depth = max(len(values) // max(_SLICES, 2 * n), 1)
    slices = len(values) // depth
    if slices < n:
        return np.zeros(values.shape[1], values.dtype)
    maxima = values[: slices * depth].reshape(depth, slices, -1).max(axis=0)
    found: npt.NDArray[_Float] = np.partition(maxima, slices - n, axis=0)[slices - n]
    return found


def nth_largest_of_rows(
    values: npt.NDArray[np.float32], indptr: npt.NDArray[np.integer], n: int
) -> npt.NDArray[np.float32]:
    """The same for CSR rows of values of at least 0: the n-th largest among the maxima of runs of at most _RUN."""
    starts = np.sort(np.concatenate([indptr[:-1][np.diff(indptr) > 0], np.arange(0, len(values), _RUN)]))
    starts = starts[np.diff(starts, prepend=-1) > 0].astype(np.int64)
    rows = np.searchsorted(indptr, starts, side="right") - 1
    maxima = np.maximum.reduceat(values, starts) if len(starts) else values
    # The bits of floats of one sign sort like the floats; below the row's number they sort the largest first.
    keys = np.sort((rows << 32) + (np.iinfo(np.int32).max - maxima.view(np.int32)))
    edges = np.searchsorted(keys, np.arange(len(indptr)) << 32)
    nth = np.zeros(len(indptr) - 1, np.float32)
    enough = np.flatnonzero(np.diff(edges) >= n)
    bits = np.iinfo(np.int32).max - (keys[edges[enough] + n - 1] & np.iinfo(np.uint32).max)
    nth[enough] = bits.astype(np.int32).view(np.float32)
    return nth
