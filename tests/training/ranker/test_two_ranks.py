"""Two processes that train the ranker together come to what one comes to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch

from tests.support.rankers import CONFIG, FEATURES, KINDS, planted, publish_candidates, ranker_job
from tests.support.towers import largest_gap, weights_of
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group, process_group
from training.ranker.batches import QUERY, RankerBatch, columns_of
from training.ranker.model import RankerMLP
from training.ranker.objective import ObjectiveOptions, RankerTask
from training.ranker.sample import sample_rows
from training.ranker.train import RankerJob, train_ranker
from training.ranker.transform import FeatureTransform
from training.reader import ParquetReader, ReaderOptions

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]
SMALL_SAMPLE = 40
IN_EACH_PROCESS = """
import sys
import torch
from tests.training.ranker.test_two_ranks import in_each_process

torch.set_num_threads(1)
in_each_process(sys.argv[1])
"""


def in_each_process(folder: str) -> None:
    """What the ranks do; each leaves what it found in the folder."""
    job = RankerJob.from_json(Path(folder, "job.json").read_text())
    with process_group() as group:
        found: dict[str, Any] = {form: trained_by_hand(f"{folder}/{form}", group, form) for form in ("listwise", "bce")}
        found["sample"] = torch.from_numpy(sampled(job.train_paths[0], group))
    os.environ["MASTER_PORT"] = os.environ["SECOND_PORT"]  # the first is in use until both ranks have left it
    found["told"] = json.dumps(train_ranker(job))
    torch.save(found, f"{folder}/rank_{os.environ['RANK']}.pt")


def share_of(number: int, queries: int, group: Group) -> RankerBatch:
    """This rank's queries of a global batch; the ranks get unequal numbers of candidates and of positives."""
    rows = planted(queries, seed=number)
    rows.label[rows.query() == 2] = 0
    return rows.rows(rows.query() * group.world_size // queries == group.rank).batch()


def trained_by_hand(folder: str, group: Group, form: str) -> dict[str, Any]:
    """A member without dropout on batches of eight queries, of which each rank has its part."""
    torch.manual_seed(2)
    transform = FeatureTransform(KINDS)
    transform.fit(planted(40).features)
    model = RankerMLP(transform, 8, 0.0, within_query=True)
    dev = share_of(99, 15, group)
    task = RankerTask(model, ObjectiveOptions(form=form), group, lambda: [dev])

    def batches(epoch: int, skip: int) -> list[RankerBatch]:
        return [share_of(10 * epoch + step, 8, group) for step in range(skip, 4)]

    settings = LoopSettings(max_epochs=2, metric="ndcg@20", patience=5)
    trained = Loop(task, Optimizers(model, 0.02), batches, settings, group, folder).run()
    weights = weights_of(model)
    del weights["heads.bias"]  # a softmax does not see it: its gradient is rounding, which AdamW takes for a direction
    return {"weights": weights, "curve": trained.curve}


def sampled(path: str, group: Group) -> np.ndarray:
    options = ReaderOptions(
        engine="arrow", batch_size=16, columns=columns_of(FEATURES), seed=1, shuffle=False, rank=group.rank,
        world_size=group.world_size, keep_together=QUERY,
    )  # fmt: skip
    return sample_rows(ParquetReader(path, options).epoch(0), FEATURES, group, SMALL_SAMPLE)


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> RankerJob:
    folder = tmp_path_factory.mktemp("two_ranks")
    paths = [publish_candidates(folder / f"{seed}.parquet", planted(60, seed)) for seed in (1, 2)]
    return ranker_job(folder, paths[0], paths[1], replace(CONFIG, batch_rows=32))


@pytest.fixture(scope="module")
def two_ranks(job) -> list[dict[str, Any]]:
    folder = Path(job.out_folder).parent
    (folder / "job.json").write_text(job.to_json())
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        ports = {"MASTER_PORT": str(one.getsockname()[1]), "SECOND_PORT": str(other.getsockname()[1])}
    address = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", **ports}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", IN_EACH_PROCESS, str(folder)],
            cwd=ROOT,
            env={**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank), "CUDA_VISIBLE_DEVICES": ""},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=400) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"rank_{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("form", ["listwise", "bce"])
def test_two_ranks_have_the_curve_and_the_weights_of_one_at_the_same_global_batch(tmp_path, two_ranks, form):
    alone = trained_by_hand(str(tmp_path), Group(), form)
    for rank in two_ranks:
        assert largest_gap(rank[form]["weights"], alone["weights"]) < 1e-5
        for figure in ("loss", "learning_rate", "recall@20", "ndcg@20", "ndcg@20_first"):
            expected = [entry[figure] for entry in alone["curve"]]
            assert [entry[figure] for entry in rank[form]["curve"]] == pytest.approx(expected, rel=1e-5)


def test_two_ranks_draw_the_sample_of_one(job, two_ranks):
    alone = sampled(job.train_paths[0], Group())
    assert alone.shape == (SMALL_SAMPLE, len(FEATURES))
    assert all(np.array_equal(rank["sample"].numpy(), alone) for rank in two_ranks)


def test_two_ranks_train_one_ranker_on_their_shares_of_the_files(job, two_ranks):
    first, second = (json.loads(rank["told"]) for rank in two_ranks)
    assert first["dev"] == second["dev"]
    assert [len(member["curve"]) for member in first["members"]] == [2, 2]
    assert [path.name for path in Path(job.out_folder).iterdir()] == ["ranker_best.pt"]
    alone = train_ranker(replace(job, out_folder=job.out_folder + "_alone", checkpoint_folder=job.out_folder + "_c"))
    steps = [found["members"][0]["steps_per_epoch"] for found in (first, alone)]
    assert steps[0] == steps[1] // 2
    assert first["dev"].keys() == alone["dev"].keys()
