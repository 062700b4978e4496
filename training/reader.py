"""Published Parquet tables -> batches of tensors, shuffled and shared out over ranks, by Petastorm or by pyarrow.

options = ReaderOptions(engine="arrow", batch_size=8192, columns=("user_idx", "history"), seed=1, shuffle=True)
reader = ParquetReader("processed/fit=val/tower_examples.parquet", options)
for batch in reader.epoch(0): ...           # {"user_idx": (B,), "history": (B, L)}
for batch in reader.epoch(3, skip=120): ... # what a run that stopped after 120 batches of epoch 3 still needs
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from recsys_spark.contracts.checks import one_of, require
from recsys_spark.contracts.errors import ConfigError
from training.engines import ENGINES, open_engine
from training.row_blocks import BlockReader, places_of_blocks
from training.row_groups import Layout, Share, Span, plan_epoch, read_footers
from training.windows import Batch, Buffer, Window, rebatched, rows_between, rows_of_window, windows_of

_WINDOWS_AHEAD = 1  # read while the batches of one are used


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """What a reader yields. batch_size: rows per rank. seed: 1 or more, for Petastorm takes 0 for none.

    shuffle: for training; see ParquetReader. shuffle_rows_buffer: the most rows that are mixed with one another, those
    of several row groups; about three such buffers are held in memory. A small data set is mixed in eighths, or by two
    row groups, so that steps need not wait for all of it. workers: threads that each read a row group.
    pin_memory: has an effect where there is a GPU. keep_together: one of the columns, whose runs of equal values stay
    whole and in order while they, and not rows, are mixed: the candidates of a query, say.
    """

    batch_size: int
    columns: tuple[str, ...]
    seed: int
    shuffle: bool
    engine: str = "petastorm"
    rank: int = 0
    world_size: int = 1
    shuffle_rows_buffer: int = 262_144
    workers: int = 3
    pin_memory: bool = False
    keep_together: str | None = None

    def __post_init__(self) -> None:
        one_of(self.engine, ENGINES, "engine")
        for key in ("batch_size", "seed", "world_size", "shuffle_rows_buffer", "workers"):
            require(getattr(self, key) >= 1, key, "at least 1", getattr(self, key))
        require(0 <= self.rank < self.world_size, "rank", f"from 0 to {self.world_size - 1}", self.rank)
        distinct = 0 < len(self.columns) == len(set(self.columns))
        require(distinct, "columns", "at least one name, each once", self.columns)
        is_read = self.keep_together is None or self.keep_together in self.columns
        require(is_read, "keep_together", f"one of {self.columns}", self.keep_together)


class ParquetReader:
    """Reads published tables, all of them as one data set, for one rank.

    Every rank gets the same number of batches. In training (`shuffle`) an epoch holds each row at most once and all
    batches are full; the rows left out, fewer than one batch per rank, are others in each epoch and for each seed. Only
    where there are fewer rows than one batch per rank an epoch is one smaller batch, as large on every rank. In
    evaluation an epoch holds every row once, in the order of files, of which each rank has one stretch; a rank's last
    batch may be smaller, or empty where other ranks have one row more.

    Runs that are kept together are not cut between ranks in evaluation, whose stretches may then differ by a run. In
    training those on the borders of a rank's stretch are, two a rank and epoch at most. Batches are cut anywhere.

    The same options and files give the same batches in the same order, by either engine.
    """

    def __init__(self, path: str | Sequence[str], options: ReaderOptions) -> None:
        """Read the footers. path: one or several folders with published tables.

        Raises ArtifactError for a path that is no published table, SchemaError for columns a trainer cannot take,
        ConfigError where there are fewer rows than ranks, or none, or where Petastorm cannot read the files.
        """
        paths = [path] if isinstance(path, str) else list(path)
        require(bool(paths), "path", "at least one folder", path)
        self.options = options
        self._tables = read_footers(paths, options.columns)
        if self.num_rows < options.world_size:
            raise ConfigError(
                f"{', '.join(paths)} has {self.num_rows} rows, {options.world_size} ranks need at least one each; "
                "run fewer ranks, or look why the stage that writes it found so few"
            )
        self._engine = open_engine(options.engine, self._tables)
        self._blocks = BlockReader(self._tables, options.keep_together) if options.keep_together is not None else None
        borders = () if self._blocks is None or options.shuffle else self._blocks.borders(options.world_size)
        self._share = Share(self._tables.num_rows, options.batch_size, options.world_size, options.shuffle, borders)
        self._pin = options.pin_memory and torch.cuda.is_available()

    @property
    def num_rows(self) -> int:
        """Rows of the whole data set."""
        return self._tables.num_rows

    @property
    def layout(self) -> Layout:
        """How the rows lie in files: with the options it decides their order, and so where a resumed epoch goes on."""
        return self._tables.layout

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one rank, the same on every rank and in every epoch."""
        return self._share.batches

    def epoch(self, number: int, skip: int = 0) -> Generator[Batch]:
        """Batches of epoch `number` (from 0) for this rank, without the first `skip`, most of which are not read.

        Most batches are views of a larger buffer: clone what is to be kept. Threads read ahead, and end with the
        iterator, also where it is left early.
        """
        require(0 <= skip <= self.batches_per_epoch, "skip", f"from 0 to {self.batches_per_epoch}", skip)
        return self._batches(number, skip)

    def _batches(self, epoch: int, skip: int) -> Generator[Batch]:
        missing = self.batches_per_epoch - skip
        with closing(self._filled(epoch, skip * self.options.batch_size)) as chunks:
            for batch in rebatched(chunks, self.options.batch_size):
                yield batch
                missing -= 1
        for _ in range(missing):
            yield Buffer(self._tables.forms, 0, None, self._pin).columns

    def _filled(self, epoch: int, skip_rows: int) -> Generator[Batch]:
        """The windows of an epoch in turn, without the first rows. Later ones are read while the caller is busy."""
        options = self.options
        spans = plan_epoch(self._tables.groups, self._share, options.rank, options.seed, epoch)
        pool = ThreadPoolExecutor(options.workers, thread_name_prefix="reader")
        ahead: deque[_Reading] = deque()
        try:
            for window in windows_of(spans, rows_of_window(spans, options.batch_size, options.shuffle_rows_buffer)):
                if skip_rows >= window.rows:
                    skip_rows -= window.rows
                    continue
                ahead.append(self._start(pool, window, epoch, skip_rows))
                skip_rows = 0
                if len(ahead) > _WINDOWS_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor, window: Window, epoch: int, skip_rows: int) -> _Reading:
        """Let the pool fill a buffer with the rows of a window."""
        places = self._places(pool, window, epoch) if self.options.shuffle else None
        # In the caller's thread: pinned memory belongs to the device that is current there.
        buffer = Buffer(self._tables.forms, window.rows, places, self._pin)
        parts, first = [], 0
        for span in window.spans:
            parts.append(pool.submit(self._put, buffer, span, first))
            first += span.rows
        return _Reading(buffer, parts, skip_rows)

    def _places(self, pool: ThreadPoolExecutor, window: Window, epoch: int) -> npt.NDArray[np.int64]:
        """Where each of a window's rows goes in the mixed order, (rows,)."""
        # Counted from 1: NumPy pads a short seed with zeros, and (seed, epoch) orders the row groups.
        rng = np.random.default_rng((self.options.seed, epoch, self.options.rank + 1, window.number))
        if self._blocks is None:
            return rng.permutation(window.rows)
        return places_of_blocks(np.concatenate(list(pool.map(self._blocks.values, window.spans))), rng)

    def _put(self, buffer: Buffer, span: Span, first: int) -> None:
        """Copy a span to the places of the window's rows from `first` on."""
        begin = 0  # of the part, in the row group
        for part in self._engine.read(span.group):
            end = begin + len(next(iter(part.values())))
            wanted = slice(max(span.first - begin, 0), max(span.last - begin, 0))
            buffer.put({name: values[wanted] for name, values in part.items()}, first + max(begin - span.first, 0))
            begin = end
            if begin >= span.last:
                break


@dataclass(frozen=True)
class _Reading:
    """A buffer that is being filled; its first rows are not wanted."""

    buffer: Buffer
    parts: list[Future[None]]
    skip_rows: int

    def result(self) -> Batch:
        """The rows, once they are all there."""
        for part in self.parts:
            part.result()
        return rows_between(self.buffer.columns, self.skip_rows)
