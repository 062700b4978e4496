"""How fast the ranker trains beside a busy program when threads of OpenMP sleep while they wait, against spinning.

The ranker with its default settings on generated candidates in memory, two threads of torch; a program that never rests
takes one core. Each contender is a process of its own, as the policy is read when torch is loaded; they take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
import torch

from benchmarks.harness import figure, median_ratio, report
from recsys_spark.contracts.ranker_config import RankerConfig
from training.optimizers import Optimizers
from training.process_group import Group
from training.ranker.batches import RankerBatch
from training.ranker.model import RankerMLP
from training.ranker.objective import ObjectiveOptions, RankerTask
from training.ranker.transform import FeatureTransform

QUERIES, CANDIDATES, FEATURES = 16, 250, 70  # of a step
STEPS, WARM_UP = 60, 10
POLICIES = ("PASSIVE", "ACTIVE")  # of OMP_WAIT_POLICY; the first is what the project sets
_BUSY = "while True: pass"


def rows_per_second(threads: int) -> float:
    """Of STEPS steps, after those that warm up; in this process."""
    torch.set_num_threads(threads)
    rng, rows, config = np.random.default_rng(1), QUERIES * CANDIDATES, RankerConfig()
    features = rng.standard_normal((rows, FEATURES), dtype=np.float32)
    transform = FeatureTransform(("standard",) * FEATURES)
    transform.fit(features)
    model = RankerMLP(transform, config.hidden, config.dropout, config.within_query)
    task = RankerTask(model, ObjectiveOptions(), Group())
    optimizers = Optimizers(model, config.learning_rate, config.weight_decay)
    batch = RankerBatch(
        query=torch.arange(QUERIES).repeat_interleave(CANDIDATES),
        item=torch.arange(rows),
        features=torch.from_numpy(features),
        label=torch.from_numpy((rng.random(rows) < 0.02).astype(np.float32)),
        is_repeat=torch.from_numpy(rng.random(rows) < 0.5),
    )
    started = time.perf_counter()
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            started = time.perf_counter()
        optimizers.zero_grad()
        task.loss(batch, step).backward()
        optimizers.clip(config.clip_norm)
        optimizers.step()
    return STEPS * rows / (time.perf_counter() - started)


def measured(policy: str, threads: int) -> float:
    """The same in a process under a policy."""
    command = [sys.executable, "-m", "benchmarks.waiting_threads", "--one", "--threads", str(threads)]
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@contextmanager
def beside(busy: bool) -> Iterator[None]:
    """With a program beside that takes a core, or without."""
    if not busy:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", _BUSY]) as program:
        try:
            yield
        finally:
            program.kill()


def main() -> None:
    """Measure all contenders in turn and report how many times as fast the project's policy is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(rows_per_second(given.threads))
        return
    figures = []
    for name, busy, goal in (("alone", False, ">= 0.9"), ("beside_a_busy_program", True, ">= 1.0")):
        found: dict[str, list[float]] = {policy: [] for policy in POLICIES}
        for _ in range(given.repetitions):
            for policy, speeds in found.items():
                with beside(busy):
                    speeds.append(measured(policy, given.threads))
        ratio = median_ratio(found["PASSIVE"], found["ACTIVE"])
        speeds_by_policy = {policy.lower(): round(median(speeds)) for policy, speeds in found.items()}
        detail = {"rows_per_second": speeds_by_policy, "threads": given.threads, "repetitions": given.repetitions}
        figures.append(figure(f"waiting_threads.{name}", ratio, goal, **detail))
    report("waiting_threads", figures)


if __name__ == "__main__":
    main()
