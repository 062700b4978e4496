"""The life of a process that answers: it holds the bundles it is told to, whose files all of them map, and replies."""

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

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # meant for the server; its whole group may get them
_SWITCH_SECONDS = 0.0005  # a bundle that is being opened hands over to answers sooner than after 5 ms
log = logging.getLogger("recsys")

Key = tuple[Path, str]  # folder of a bundle, name of its run


def work(served: Served, log_format: str, requests: Connection, orders: Connection) -> None:
    """Answer until the server is gone. SIGNALS are blocked when it begins.

    requests: brings (key, kind, asked) and takes what `Replies.reply` says, a Refused, or None for a fault, which is
    logged. orders: brings the keys of all bundles to hold, and takes None, or why one could not be opened.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    set_up_logs(log_format)
    sys.setswitchinterval(_SWITCH_SECONDS)
    _compute_on_one_core()
    held: dict[Key, Replies] = {}
    threading.Thread(target=_hold_as_told, args=(served, orders, held), daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            requests.send(_replied(held, *requests.recv()))


def _replied(held: dict[Key, Replies], key: Key, kind: str, asked: tuple[object, ...]) -> str | Refused | None:
    try:
        return held[key].reply(kind, *asked)
    except Refused as refused:
        return refused
    except Exception:
        log.exception("serve: no answer for a request of the kind '%s'", kind)
        return None


def _hold_as_told(served: Served, orders: Connection, held: dict[Key, Replies]) -> None:
    try:
        _compute_on_one_core()
        while True:
            orders.send(_fault_of_holding(served, orders.recv(), held))
    except (EOFError, OSError):
        return
    finally:
        orders.close()  # whatever ended it, the server is not to wait


def _fault_of_holding(served: Served, keys: tuple[Key, ...], held: dict[Key, Replies]) -> str | None:
    """Open what is not held yet, then drop what is not wanted any more; where one cannot be opened all stays."""
    from recsys_spark.serving.replies import Replies

    is_first = not held
    try:
        for key in keys:
            if key not in held:
                folder, run = key
                held[key] = Replies.open(folder, served, run)
    except Exception as error:
        return str(error) or type(error).__name__
    for old in held.keys() - set(keys):
        del held[old]
    if is_first:
        gc.freeze()  # what is loaded stays: a collection, for which answers wait, need not look through it
    return None


def _compute_on_one_core() -> None:
    """Of this thread: answers run beside one another, and one that spreads over all cores delays the others."""
    import pyarrow  # noqa: F401  before torch

    with suppress(ImportError):  # extras: runs without towers and ranker do without
        import torch

        torch.set_num_threads(1)
    with suppress(ImportError):
        import faiss

        faiss.omp_set_num_threads(1)
