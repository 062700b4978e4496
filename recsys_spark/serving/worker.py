"""The life of a process that answers: it opens bundles as it is told, whose files all processes map, and replies."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_spark.logs import set_up_logs
from recsys_spark.serving.documents import Refused
from recsys_spark.serving.plan import Served

if TYPE_CHECKING:  # torch, which the server itself does without
    from recsys_spark.serving.replies import Replies

BUNDLES_KEPT = 2  # the one that is served, and the one before it for requests that began with it
_SWITCH_SECONDS = 0.0005  # a bundle that is being opened hands over to answers sooner than after 5 ms
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # meant for the server; its whole group may get them
log = logging.getLogger("recsys")

Key = tuple[Path, str]  # folder of a bundle, name of its run


def work(served: Served, log_format: str, requests: Connection, orders: Connection) -> None:
    """Answer until the server is gone.

    requests: brings (key, kind, asked) and takes what `Replies.reply` says, a Refused, or None for a fault, which is
    logged. orders: brings the key of a bundle to open, and takes None, or why it could not be.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    set_up_logs(log_format)
    sys.setswitchinterval(_SWITCH_SECONDS)
    _compute_on_one_core()
    held: dict[Key, Replies] = {}
    threading.Thread(target=_open_as_told, args=(served, orders, held), daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            requests.send(_replied(held, *requests.recv()))


def _replied(held: dict[Key, Replies], key: Key, kind: str, asked: tuple[object, ...]) -> str | Refused | None:
    replies = held.get(key) or list(held.values())[-1]  # a request that waited through two reloads gets the newest
    try:
        return replies.reply(kind, *asked)
    except Refused as refused:
        return refused
    except Exception:
        log.exception("serve: no answer for a request of the kind '%s'", kind)
        return None


def _open_as_told(served: Served, orders: Connection, held: dict[Key, Replies]) -> None:
    from recsys_spark.serving.replies import Replies  # torch, which the server itself does without

    _compute_on_one_core()
    with suppress(EOFError, OSError):
        while True:
            folder, run = orders.recv()
            try:
                replies = Replies.open(folder, served, run)
            except Exception as error:
                orders.send(str(error) or type(error).__name__)
                continue
            held.pop((folder, run), None)
            held[folder, run] = replies
            for old in list(held)[:-BUNDLES_KEPT]:
                del held[old]
            if len(held) == 1:
                gc.freeze()  # what is loaded stays: a collection, for which answers wait, need not look through it
            orders.send(None)


def _compute_on_one_core() -> None:
    """Of this thread: answers run beside one another, and one that spreads over all cores delays the others."""
    import pyarrow  # noqa: F401  before torch

    with suppress(ImportError):  # extras: runs without towers and ranker do without
        import torch

        torch.set_num_threads(1)
    with suppress(ImportError):
        import faiss

        faiss.omp_set_num_threads(1)
