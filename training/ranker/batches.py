"""What a step of the ranker gets: the candidates of whole queries, cut anew from a reader's batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_spark.contracts.checks import require
from recsys_spark.contracts.errors import DataError
from training.reader import ParquetReader
from training.row_blocks import block_starts
from training.windows import joined, num_rows, rows_between

QUERY, ITEM = "query_id", "item_idx"
_KEYS = (QUERY, ITEM, "label", "is_repeat")


@dataclass(frozen=True)
class RankerBatch:
    """N candidates of Q queries with F features; the candidates of a query follow one another."""

    query: Tensor  # (N,) int64, number of the query within the batch, ascending from 0
    item: Tensor  # (N,) int64, item_idx
    features: Tensor  # (N, F) float32
    label: Tensor  # (N,) float32, 1 for a positive, else 0
    is_repeat: Tensor  # (N,) bool, the customer bought the item before the query

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def of(cls, columns: Mapping[str, Tensor], features: Sequence[str]) -> RankerBatch:
        """From a reader's columns; pinned where those are."""
        ids = columns[QUERY]
        query = torch.zeros(len(ids), dtype=torch.long, pin_memory=ids.is_pinned())
        torch.cumsum(ids[1:] != ids[:-1], 0, out=query[1:])
        shape = len(ids), len(features)
        matrix = torch.empty(shape, dtype=torch.float32, pin_memory=ids.is_pinned())
        for place, name in enumerate(features):
            matrix[:, place] = columns[name]
        return cls(query, columns[ITEM].long(), matrix, columns["label"].float(), columns["is_repeat"].bool())

    def to(self, device: torch.device) -> RankerBatch:
        """The same on a device."""
        return RankerBatch(**{name: values.to(device, non_blocking=True) for name, values in vars(self).items()})


def columns_of(features: Sequence[str]) -> tuple[str, ...]:
    """What a reader is asked for; a feature may be one of the keys."""
    return tuple(dict.fromkeys((*_KEYS, *features)))


def whole_queries(reader: ParquetReader, features: Sequence[str], epoch: int, skip: int = 0) -> Iterator[RankerBatch]:
    """Batches of an epoch without the first `skip`, as many as the reader's, cut where queries end.

    A query whose rows lie in two of the reader's batches goes whole into the later one. reader: keeps queries together.
    Raises DataError for a query with more rows than a batch, ConfigError for a `skip` where the reader keeps the order.
    """
    # Where it does not, batches before may be of other sizes, or empty, and more than one of them is carried over.
    require(skip == 0 or reader.options.shuffle, "skip", "0 where the reader does not shuffle", skip)
    last = reader.batches_per_epoch - 1
    before = min(skip, 1)  # what is carried over comes from the batch before
    carried = None
    with closing(reader.epoch(epoch, skip - before)) as batches:
        for number, read in enumerate(batches, start=skip - before):
            rows = read if carried is None else joined(carried, read)
            end = num_rows(rows) if number == last else _start_of_last_query(rows, reader.options.batch_size)
            if number >= skip:
                yield RankerBatch.of(rows_between(rows, 0, end), features)
            carried = rows_between(rows, end)


def _start_of_last_query(rows: Mapping[str, Tensor], batch_rows: int) -> int:
    """The row from which on a query may go on in the next batch."""
    ids = rows[QUERY].numpy()
    start = int(block_starts(ids)[-1]) if len(ids) else 0
    if len(ids) - start > batch_rows:
        raise DataError(
            f"query {ids[-1]} has more than {batch_rows} candidates, the rows of a batch; raise ranker.batch_rows"
        )
    return start
