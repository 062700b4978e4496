"""The bundle that is served now, and how another takes its place without a request noticing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from recsys_spark.contracts.errors import ArtifactError, PipelineError
from recsys_spark.serving.bundle import CARD, BundleCard, prune
from recsys_spark.serving.plan import Served, bundles_folder, is_unchanged, plan_of, run_to_serve, tables_of_rules

_AGAIN_SECONDS = 600.0
log = logging.getLogger("recsys")


class Held(Protocol):
    """An open bundle that answers."""

    @property
    def card(self) -> BundleCard: ...

    @property
    def num_processes(self) -> int:
        """Those that can answer now."""

    def reply(self, kind: str, *asked: Any) -> str:
        """See `Replies.reply`."""


class BundleReloader:
    """Holds the bundle that is served. A request takes it once and is answered from it alone.

    make: makes the bundle of the run, in a process of its own, as a server needs no Java. open_bundle: by its folder
    and the name of the run.
    """

    def __init__(self, served: Served, make: Callable[[], None], open_bundle: Callable[[Path, str], Held]) -> None:
        self.served = served
        self.started = time.monotonic()
        self.num_reloads = 0
        self.last_error: str | None = None
        self._make, self._open_bundle = make, open_bundle
        self._busy = threading.Lock()
        self._not_made: str | None = None
        self._try_after = 0.0
        self._held: Held | None = None
        self._held = self._open()

    @property
    def held(self) -> Held:
        assert self._held  # from the end of __init__ on
        return self._held

    @property
    def is_reloading(self) -> bool:
        return self._busy.locked()

    def refresh(self) -> bool:
        """Serve the run as it is now; returns whether that is another. What fails leaves it as it is."""
        if not self._busy.acquire(blocking=False):
            return False
        try:
            if self._is_current():
                self.last_error = None
                return False
            held = self._open()
            if (held.card.digest, held.card.run) == (self.held.card.digest, self.held.card.run):
                return False
            self._held = held  # one assignment: a request sees the old one or the new one
            self.num_reloads += 1
            self.last_error = None
            log.info("serve: run %s, bundle %s", held.card.run, held.card.digest)
            return True
        except (PipelineError, OSError) as error:
            self._remember(str(error))
        except Exception as error:  # a server goes on with what it has
            self._remember(f"{type(error).__name__}: {error}")
        finally:
            self._busy.release()
        return False

    def _remember(self, told: str) -> None:
        if told != self.last_error:
            log.warning("serve: the run cannot be reloaded: %s", told)
        self.last_error = told

    def _is_current(self) -> bool:
        storage = run_to_serve(self.served.config)
        card = self.held.card
        is_same_run = storage.location == self._location and is_unchanged(storage, card.inputs)
        return is_same_run and tables_of_rules(self.served.config) == card.tables

    def _open(self) -> Held:
        storage = run_to_serve(self.served.config)
        plan = plan_of(self.served, storage)
        folder = bundles_folder(self.served.config, storage)
        if not (folder / plan.digest / CARD).exists():
            self._make_once(plan.digest)
        held = self._open_bundle(folder / plan.digest, plan.run)
        self._location = storage.location
        in_use = {plan.digest, self._held.card.digest} if self._held else {plan.digest}
        try:
            prune(folder, self.served.config.serve.keep_bundles, in_use)
        except OSError as error:  # another server of the folder tidies too
            log.warning("serve: old bundles stay: %s", error)
        return held

    def _make_once(self, digest: str) -> None:
        """Make a bundle; one that could not be made is tried again after a while, as each try starts Spark."""
        if self._not_made == digest and time.monotonic() < self._try_after:
            raise ArtifactError(self.last_error or "the bundle could not be made")
        self._not_made, self._try_after = digest, time.monotonic() + _AGAIN_SECONDS
        self._make()
        self._not_made = None
