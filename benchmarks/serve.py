"""How fast look-ups are answered: the index alone, and whole answers over HTTP at a fixed rate of requests.

Over a finished run: `--config` as it ran. The server, and what asks it, are processes of their own; see `serve_load`.
Known customers are asked for first, then recommendations for posted baskets of 1 to 20 products that sell, each kind at
the whole rate.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmarks.harness import Figure, figure, report
from jobs.serve import BundleMaker, served_by
from recsys_spark.candidates.index import load_index
from recsys_spark.candidates.towers import load_tower
from recsys_spark.command_line import common_arguments, config_from
from recsys_spark.serving.bundle_reloader import BundleReloader
from recsys_spark.serving.replies import Replies
from recsys_spark.serving.state import State

DEPTH, SEARCHES = 100, 2000
MAX_BASKET = 20
KINDS = ("customer", "basket")


def index_milliseconds(state: State) -> np.ndarray:
    """Of searches for the 100 best items of one customer each, by one thread."""
    assert state.tower
    files = state.tower.files
    tower, index = load_tower(files.user_tower, files.item_embeddings), load_index(files)
    users = np.random.default_rng(1).integers(1, state.card.num_customers + 1, SEARCHES)
    vectors = np.concatenate([tower.vectors(state.customer(int(user))) for user in np.unique(users)])
    found = []
    for vector in vectors[np.random.default_rng(2).integers(0, len(vectors), SEARCHES)]:
        started = time.perf_counter()
        index.search(vector[None], np.array([DEPTH]))
        found.append(1000 * (time.perf_counter() - started))
    return np.array(found)


def requests_of(state: State, kind: str, number: int) -> list[list[str]]:
    """Requests of one of KINDS to choose from."""
    rng, known = np.random.default_rng(3), state.card.num_customers
    made = []
    for _ in range(number):
        if kind == "customer":
            customer = quote(state.customers.of(int(rng.integers(1, known + 1))), safe="")
            made.append([kind, "GET", f"/recommend/{customer}?k=20", ""])
        else:
            items = rng.choice(state.popular.items[:5000], rng.integers(1, MAX_BASKET + 1), replace=False)
            codes = [state.items.of(int(item)) for item in items]
            made.append([kind, "POST", "/recommend", json.dumps({"items": codes, "k": 20})])
    return made


@contextmanager
def server(arguments: argparse.Namespace) -> Iterator[str]:
    """A server in a process of its own; yields its address."""
    options = [("--config", each) for each in arguments.config] + [("--set", each) for each in arguments.set]
    words = [word for pair in [*options, ("--set", "serve.port=0")] for word in pair]
    process = subprocess.Popen([sys.executable, "-m", "jobs.serve", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        told = ""
        for line in process.stderr:
            told += line
            if "answers from run" in line:
                break
        else:
            raise RuntimeError(f"the server did not start:\n{told}")
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop the server
        yield line.split("serve: ")[1].split()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def asked(address: str, plan: dict[str, Any]) -> dict[str, Any]:
    """What the load generator found, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serve_load", address]
    done = subprocess.run(command, input=json.dumps(plan), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def percentiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{share:g}": round(float(np.percentile(values, share)), 3) for share in (50, 90, 99, 99.9)}


def main() -> None:
    """Measure the run that the config names."""
    parser = common_arguments(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    served = served_by(config_from(arguments))
    held = BundleReloader(served, BundleMaker(arguments), lambda folder, run: Replies.open(folder, served, run)).held
    assert isinstance(held, Replies)
    state = held.state
    index = index_milliseconds(state)
    plan = {"rate": arguments.rate, "seconds": arguments.seconds, "warm_up": 3.0, "seed": 1}
    before = os.getloadavg()
    facts = {**plan, "load_average": [round(each, 2) for each in before]}
    figures = [figure("serve.index_p99_ms", float(np.percentile(index, 99)), "< 1", depth=DEPTH, **percentiles(index))]
    with server(arguments) as address:
        for kind in KINDS:
            found = asked(address, {**plan, "requests": requests_of(state, kind, 1000)})
            figures.append(answer_figure(kind, found, facts))
    report("serve", figures)


def answer_figure(kind: str, found: dict[str, Any], facts: dict[str, Any]) -> Figure:
    """Whole answers of one kind."""
    took = np.array(found["latencies"][kind])
    told = {"requests": len(took), "failed": found["failed"], **percentiles(took), **facts}
    return figure(f"serve.{kind}_p99_ms", float(np.percentile(took, 99)), "< 20", **told)


if __name__ == "__main__":
    main()
