"""Rows that are read together, mixed in memory, and cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import Tensor

from training.row_groups import ColumnForm, Span

Batch = dict[str, Tensor]  # columns, (B,) or (B, width)

_WINDOWS_PER_EPOCH = 8  # or more


@dataclass(frozen=True)
class Window:
    """Spans that follow one another. number: from 0 within the epoch of a rank."""

    number: int
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        return sum(span.rows for span in self.spans)


def rows_of_window(spans: Sequence[Span], batch_size: int, max_rows: int) -> int:
    """How many rows are mixed at once: a part of the epoch, so that the rest is read while the first steps are taken.

    Two row groups at least, for their rows to meet; but never more than `max_rows`.
    """
    part = sum(span.rows for span in spans) // _WINDOWS_PER_EPOCH
    return min(max_rows, max(batch_size, part, 2 * max((span.rows for span in spans), default=0)))


def windows_of(spans: Sequence[Span], max_rows: int) -> list[Window]:
    """Windows of about the same size: at most `max_rows` and what the last span of each has above that."""
    total = sum(span.rows for span in spans)
    num_windows = -(-total // max_rows)
    parted: list[list[Span]] = [[] for _ in range(num_windows)]
    first = 0
    for span in spans:
        parted[first * num_windows // total].append(span)
        first += span.rows
    filled = [tuple(part) for part in parted if part]  # a large row group covers several
    return [Window(number, part) for number, part in enumerate(filled)]


class Buffer:
    """The rows of one window, each put at its place in the mixed order as soon as its row group is there.

    So a row is copied once on its way from a row group to a batch. Several threads may put at once.
    """

    def __init__(
        self, forms: dict[str, ColumnForm], rows: int, places: npt.NDArray[np.int64] | None, pin_memory: bool
    ) -> None:
        """places: where each row goes, (rows,); None keeps the order."""
        self.columns: Batch = {}
        for name, form in forms.items():
            shape = (rows,) if form.width is None else (rows, form.width)
            # NumPy asks for huge pages, whose first touch costs a quarter of that of torch's memory.
            pageable = torch.from_numpy(np.empty(0 if pin_memory else shape, form.dtype))
            pinned = torch.empty(shape, dtype=pageable.dtype, pin_memory=True) if pin_memory else None
            self.columns[name] = pageable if pinned is None else pinned
        self._places = places

    def put(self, arrays: dict[str, npt.NDArray[Any]], first: int) -> None:
        """Store rows that are the window's rows from `first` on."""
        for name, values in arrays.items():
            last = first + len(values)
            target, source = _as_items(self.columns[name].numpy()), _as_items(np.ascontiguousarray(values))
            target[slice(first, last) if self._places is None else self._places[first:last]] = source


def _as_items(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same memory with a row as one item, which NumPy moves faster than an axis."""
    return values if values.ndim == 1 else values.view(f"V{values.itemsize * values.shape[1]}")[:, 0]


def num_rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def rows_between(batch: Batch, first: int, last: int | None = None) -> Batch:
    """Some rows, without a copy."""
    return {name: values[first:last] for name, values in batch.items()}


def rebatched(chunks: Iterable[Batch], batch_size: int) -> Iterator[Batch]:
    """The rows of the chunks in batches of `batch_size`; the last may be smaller.

    Only a batch that lies across chunks is a copy, the others are views.
    """
    rest: Batch | None = None
    for chunk in chunks:
        first = 0
        if rest is not None:
            first = batch_size - num_rows(rest)
            rest = joined(rest, rows_between(chunk, 0, first))
            if num_rows(rest) < batch_size:
                continue
            yield rest
        rows = num_rows(chunk)
        while first + batch_size <= rows:
            yield rows_between(chunk, first, first + batch_size)
            first += batch_size
        rest = rows_between(chunk, first) if first < rows else None
    if rest is not None:
        yield rest


def joined(head: Batch, tail: Batch) -> Batch:
    """The rows of both, copied; pinned where those of the head are."""
    found: Batch = {}
    for name, values in head.items():
        rows = len(values) + len(tail[name])
        out = torch.empty((rows, *values.shape[1:]), dtype=values.dtype, pin_memory=values.is_pinned())
        found[name] = torch.cat([values, tail[name]], out=out)
    return found
