"""The most memory that this process and its children held at one time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

_EVERY_SECONDS = 1.0


class PeakMemory:
    """Looks every second at the resident memory of this process (Python), of its JVM and of their Python workers.

    Pages that processes share count once for each. A JVM that spark-submit started is no child and is not seen.
    """

    def __init__(self) -> None:
        self._peak: dict[str, int] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def watched(self) -> Iterator[PeakMemory]:
        """Look until the block is left."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_EVERY_SECONDS):
                self.look()

        thread = threading.Thread(target=watch, name="peak memory", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def look(self) -> None:
        """Take a reading now."""
        bytes_by_kind = {"driver": 0, "jvm": 0, "workers": 0}
        with suppress(psutil.Error):
            own = psutil.Process()
            bytes_by_kind["driver"] = own.memory_info().rss
            for child in own.children(recursive=True):
                with suppress(psutil.Error):
                    kind = "jvm" if child.name().startswith("java") else "workers"
                    bytes_by_kind[kind] += child.memory_info().rss
        reading = {**bytes_by_kind, "total": sum(bytes_by_kind.values())}
        with self._mutex:
            self._peak = {kind: max(value, self._peak.get(kind, 0)) for kind, value in reading.items()}

    def begin(self) -> None:
        """Forget what was seen so far."""
        with self._mutex:
            self._peak = {}

    def seen(self) -> dict[str, int]:
        """Bytes at most since `begin`: `driver`, `jvm`, `workers`, each at its own moment, `total` at one moment."""
        self.look()
        with self._mutex:
            return dict(self._peak)
