"""Worker processes, so that answers use all cores: started, told which bundle to hold, asked, and replaced."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import queue
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.serving.bundle import BundleCard
from recsys_spark.serving.documents import Refused
from recsys_spark.serving.plan import Served
from recsys_spark.serving.worker import SIGNALS, Key, work

_OPENING_SECONDS = 600.0  # after which a process that opens a bundle is taken for hung
_HUNG_TIMEOUTS = 6  # so many times the patience of a client, and a process that answers is taken for hung
_TRIES = 2  # of a request whose process died: it may be what the process died of
_AGAIN_SECONDS = 1.0  # between two attempts to replace a process
log = logging.getLogger("recsys")


class WorkerPool:
    """Worker processes. A request goes to a free one; one that dies or hangs is replaced while the others go on."""

    def __init__(self, served: Served, log_format: str = "text") -> None:
        serve = served.config.serve
        self._hung_after = _HUNG_TIMEOUTS * serve.timeout_seconds
        # The bundle before, for requests that began with it, and the one that is served.
        self._held: tuple[Key, ...] = ()
        self._is_closed = False
        self._changing = threading.Lock()  # held while processes are started or told what to hold
        self._free: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        atexit.register(self.close)  # before multiprocessing waits for them
        for _ in range(serve.processes):
            self._workers.append(_Worker(served, log_format))
            self._free.put(self._workers[-1])

    @property
    def num_alive(self) -> int:
        return sum(worker.is_alive for worker in self._workers)

    def open(self, folder: Path, run: str) -> PooledBundle:
        """Let all open a bundle beside the one that is served. Raises ArtifactError where one cannot."""
        card = replace(BundleCard.read(folder), run=run)
        with self._changing:
            if self._is_closed:
                raise ArtifactError("the server ends")
            wanted = (*self._held[-1:], (folder, run))
            for worker in self._workers:
                worker.begin_to_hold(wanted)
            faults = [worker.end_holding() for worker in self._workers]
            for worker, fault in zip(self._workers, faults, strict=True):
                if not worker.is_alive and not self._is_closed:  # it may have died long ago, when nobody asked it
                    worker.start_again(wanted)
                elif fault:
                    raise ArtifactError(fault)
            self._held = wanted
        return PooledBundle(card, folder, self)

    def ask(self, key: Key, kind: str, asked: tuple[Any, ...]) -> str:
        """What a free worker replies; waits for one. Raises Refused, and RuntimeError where there is no reply."""
        for _ in range(_TRIES):
            worker = self._free.get()
            if worker is None or self._is_closed:
                self._free.put(worker)
                raise RuntimeError("the server ends")
            try:
                reply = worker.ask(key, kind, asked, self._hung_after)
            except (EOFError, OSError):
                worker.kill()
                threading.Thread(target=self._replace, args=(worker,), daemon=True).start()
                continue
            self._free.put(worker)
            if isinstance(reply, Refused):
                raise reply
            if reply is None:
                raise RuntimeError("a worker failed; the log says why")
            return reply
        raise RuntimeError(f"gave up after {_TRIES} workers died on this request")

    def close(self) -> None:
        """End all processes, whatever they do."""
        self._is_closed = True
        atexit.unregister(self.close)
        for worker in self._workers:
            worker.kill()  # so that nobody waits for it any more
        with self._changing:
            for worker in self._workers:
                worker.kill()  # one that was being started
        self._free.put(None)

    def _replace(self, worker: _Worker) -> None:
        with self._changing:
            if self._is_closed:
                return
            log.warning("serve: a worker died or hung; it is replaced")
            try:
                if not worker.is_alive:  # a reload may have been first
                    worker.start_again(self._held)
            except (ArtifactError, OSError) as error:
                log.error("serve: it cannot be replaced: %s", error)
                time.sleep(_AGAIN_SECONDS)
        self._free.put(worker)  # a dead one is found dead by the next request, which has it replaced


@dataclass(frozen=True)
class PooledBundle:
    """One bundle, answered by the workers of the pool."""

    card: BundleCard
    folder: Path
    pool: WorkerPool

    @property
    def num_processes(self) -> int:
        return self.pool.num_alive

    def reply(self, kind: str, *asked: Any) -> str:
        """See `Replies.reply`."""
        return self.pool.ask((self.folder, self.card.run), kind, asked)


class _Worker:
    """One process with two pipes: one for requests, one for orders to hold bundles, for which no request waits."""

    def __init__(self, served: Served, log_format: str) -> None:
        self._given = (served, log_format)
        self._start()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def start_again(self, keys: tuple[Key, ...]) -> None:
        """A new process in place of this one, which holds these bundles, or the last alone where one before it cannot
        be opened any more. Raises ArtifactError where it cannot hold that one.
        """
        self.kill()
        self._start()
        self.begin_to_hold(keys)
        if fault := self.end_holding():
            self.kill()
            if len(keys) == 1:
                raise ArtifactError(fault)
            self.start_again(keys[-1:])

    def begin_to_hold(self, keys: tuple[Key, ...]) -> None:
        with suppress(OSError):  # of a process that died; the other end of the call tells
            self._orders.send(keys)

    def end_holding(self) -> str | None:
        """Why it could not open one of the bundles."""
        try:
            if not self._orders.poll(_OPENING_SECONDS):
                raise TimeoutError
            fault: str | None = self._orders.recv()
            return fault
        except (EOFError, OSError):
            self.kill()
            return "a worker died or hung while it opened the bundle"

    def ask(self, key: Key, kind: str, asked: tuple[Any, ...], seconds: float) -> str | Refused | None:
        """See `worker.work`. Raises EOFError or OSError where the process dies or does not reply in so many seconds."""
        requests = self._requests  # those of this process, if another takes its place meanwhile
        requests.send((key, kind, asked))
        if not requests.poll(seconds):
            raise TimeoutError
        reply: str | Refused | None = requests.recv()
        return reply

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        (own_requests, requests), (own_orders, orders) = context.Pipe(), context.Pipe()
        process = context.Process(target=work, args=(*self._given, requests, orders), name="answers")
        resource_tracker.ensure_running()  # it unblocks signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the process can ignore them
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        requests.close()
        orders.close()
        self._process, self._requests, self._orders = process, own_requests, own_orders
