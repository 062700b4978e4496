"""Blocks: consecutive rows with one value of a column, which the reader keeps together.

A block lies within one row group; where two of the same value meet, they are one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_spark.contracts.errors import SchemaError
from training.engines import ArrowEngine
from training.row_groups import Span, Tables, spans_between

Values = npt.NDArray[Any]


def block_starts(values: Values) -> npt.NDArray[np.int64]:
    """The first row of each block.

    >>> block_starts(np.array([7, 7, 3, 7])).tolist()
    [0, 2, 3]
    """
    is_first = np.ones(len(values), dtype=bool)
    is_first[1:] = values[1:] != values[:-1]
    return np.flatnonzero(is_first)


def places_of_blocks(values: Values, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Where each row goes when blocks change places at random, (rows,); the rows of a block stay in order."""
    starts = block_starts(values)
    lengths = np.diff(starts, append=len(values))
    order = rng.permutation(len(starts))
    moved_to = np.empty_like(starts)
    moved_to[order] = np.cumsum(lengths[order]) - lengths[order]
    return np.repeat(moved_to - starts, lengths) + np.arange(len(values))


class BlockReader:
    """Reads the column whose blocks stay together, and no other, whatever engine reads the rows."""

    def __init__(self, tables: Tables, column: str) -> None:
        """Raises SchemaError for a column of lists."""
        form = tables.forms[column]
        if form.width is not None:
            raise SchemaError(f"column '{column}' holds lists; rows are kept together by a column of plain values")
        self._groups, self._column = tables.groups, column
        self._engine = ArrowEngine(Tables(tables.fs, tables.groups, {column: form}))

    def values(self, span: Span) -> Values:
        """The column's values in a span, (rows,)."""
        parts = [part[self._column] for part in self._engine.read(span.group)]
        found: Values = np.concatenate(parts)[span.first : span.last]
        return found

    def borders(self, world_size: int) -> tuple[int, ...]:
        """Where each rank's stretch begins and the last ends, of the row groups laid end to end, (world_size + 1).

        Stretches are about equal: one that would cut a block moves on to its end. Reads a row group per border.
        """
        total = sum(group.rows for group in self._groups)
        inner = [self._end_of_cut_block(rank * total // world_size) for rank in range(1, world_size)]
        return (0, *inner, total)

    def _end_of_cut_block(self, row: int) -> int:
        (cut,) = spans_between(self._groups, row, row + 1)
        starts = block_starts(self.values(Span(cut.group, 0, cut.group.rows)))
        following = np.append(starts, cut.group.rows)
        return row + int(following[np.searchsorted(following, cut.first)]) - cut.first
