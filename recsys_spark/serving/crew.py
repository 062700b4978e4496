"""Processes that answer, so that answers use all cores: they are started, told what to open, asked, and replaced."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.serving.bundle import BundleCard
from recsys_spark.serving.documents import Refused
from recsys_spark.serving.plan import Served
from recsys_spark.serving.worker import BUNDLES_KEPT, Key, work

log = logging.getLogger("recsys")


class Crew:
    """Some processes. A request goes to one that is free; one that dies is replaced, and its request asked again."""

    def __init__(self, served: Served, number: int, log_format: str = "text") -> None:
        self._opened: list[Key] = []
        self._opening = threading.Lock()
        self._workers = [_Worker(served, log_format) for _ in range(number)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        atexit.register(self.close)  # before multiprocessing waits for them

    def open(self, folder: Path, run: str) -> Shift:
        """Let all open a bundle, beside the one that they answer from. Raises ArtifactError where one cannot."""
        card = replace(BundleCard.read(folder), run=run)
        with self._opening:
            opened = [*self._opened, (folder, run)][-BUNDLES_KEPT:]
            for worker in self._workers:
                worker.begin_to_open(folder, run)
            faults = [worker.end_opening() for worker in self._workers]
            if any(faults):
                raise ArtifactError(next(filter(None, faults)))
            self._opened = opened
        return Shift(card, folder, self)

    def ask(self, key: Key, kind: str, asked: tuple[Any, ...]) -> str:
        """What a free process replies; waits for one. Raises Refused, and RuntimeError for a fault, which is logged."""
        worker = self._free.get()
        try:
            return worker.ask(key, kind, asked)
        except (EOFError, OSError):
            log.warning("serve: a process that answers has died; another takes its place")
            with self._opening:
                worker.start(self._opened)
            return worker.ask(key, kind, asked)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End all processes, whatever they do."""
        atexit.unregister(self.close)
        for worker in self._workers:
            worker.kill()


@dataclass(frozen=True)
class Shift:
    """The crew at one bundle. card: the bundle's."""

    card: BundleCard
    folder: Path
    crew: Crew

    def reply(self, kind: str, *asked: Any) -> str:
        """See `Replies.reply`."""
        return self.crew.ask((self.folder, self.card.run), kind, asked)


class _Worker:
    """One process with two pipes: one for requests, one for orders to open bundles, for which no request waits."""

    def __init__(self, served: Served, log_format: str) -> None:
        self._given = (served, log_format)
        self.start([])

    def start(self, opened: list[Key]) -> None:
        """A new process, which opens these bundles first. Raises ArtifactError where it cannot."""
        context = multiprocessing.get_context("spawn")
        (self._requests, requests), (self._orders, orders) = context.Pipe(), context.Pipe()
        self._process = context.Process(target=work, args=(*self._given, requests, orders), name="answers")
        self._process.start()
        requests.close()
        orders.close()
        for folder, run in opened:
            self.begin_to_open(folder, run)
            if fault := self.end_opening():
                raise ArtifactError(fault)

    def begin_to_open(self, folder: Path, run: str) -> None:
        with suppress(OSError):  # of a process that died; the other end of the call tells
            self._orders.send((folder, run))

    def end_opening(self) -> str | None:
        """Why it could not be opened."""
        try:
            fault: str | None = self._orders.recv()
        except (EOFError, OSError):
            return "a process that answers died while it opened the bundle"
        return fault

    def ask(self, key: Key, kind: str, asked: tuple[Any, ...]) -> str:
        self._requests.send((key, kind, asked))
        reply: str | Refused | None = self._requests.recv()
        if reply is None:
            raise RuntimeError("a process that answers met a fault, which it has logged")
        if isinstance(reply, Refused):
            raise reply
        return reply

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
