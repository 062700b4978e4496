"""Two processes that train together come to what one comes to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  before torch
import pytest
import torch

from recsys_spark.contracts.errors import ConfigError, TrainingError
from tests.support.towers import SmallRun, largest_gap, weights_of
from training import process_group
from training.process_group import Group
from training.retriever.objective import ObjectiveOptions

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
PLAIN = replace(SmallRun(), shape=replace(SmallRun().shape, dropout=0.0), learning_rate=0.02)
RUNS = {
    "shared": PLAIN,
    "new": replace(
        PLAIN, options=ObjectiveOptions(num_negatives=8, targets="new"), shape=replace(PLAIN.shape, tied=False)
    ),
    "per_example": replace(PLAIN, options=ObjectiveOptions(num_negatives=8, form="per_example")),
}
IN_EACH_PROCESS = """
import sys
import torch
from tests.training.test_process_group import in_each_process

torch.set_num_threads(1)
in_each_process(sys.argv[1])
"""


def in_each_process(folder: str) -> None:
    """What the two ranks do; each leaves what it found in the folder."""
    with process_group.process_group() as group:
        found: dict[str, Any] = {"gathered": gathered(group), "gradients": averaged(group)}
        for name, run in RUNS.items():
            trained, model = run.start(f"{folder}/{name}", group)
            found[name] = {"curve": trained.curve, "weights": weights_of(model)}
        found["not shared"] = resumed_apart(group, folder)
        torch.save(found, f"{folder}/rank_{group.rank}.pt")


def gathered(group: Group) -> list[Any]:
    """Rows of unequal number: 2 and 3, 2 and none, none at all."""
    sizes = [(2, 3), (2, 0), (0, 0)]
    rows = [torch.full((size[group.rank], 2), float(group.rank + 1)) for size in sizes]
    return [group.gather_rows(own).tolist() for own in rows]


def averaged(group: Group) -> dict[str, Any]:
    """Mean gradients where one rank has none, of a matrix and of a sparse table."""
    torch.manual_seed(group.rank)
    model = torch.nn.ModuleDict({"table": torch.nn.Embedding(4, 2, sparse=True), "linear": torch.nn.Linear(2, 1)})
    started = {name: value.detach().clone() for name, value in model.named_parameters()}
    group.share_weights(model)
    if group.is_first:
        model["table"](torch.tensor([1, 1])).sum().backward()
    else:
        model["linear"](torch.ones(1, 2)).sum().backward()
    group.average_gradients(model)
    gradients = {name: value.grad.to_dense() for name, value in model.named_parameters() if value.grad is not None}
    return {"started": started, "weights": weights_of(model), "gradients": gradients}


def resumed_apart(group: Group, folder: str) -> str:
    """The error of ranks that find checkpoints of different steps, as where the folder is not on shared storage."""
    apart = f"{folder}/shared" if group.is_first else f"{folder}/empty"
    try:
        RUNS["shared"].start(apart, group)
    except TrainingError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two_ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
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


@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_have_the_loss_curve_and_the_weights_of_one_at_the_same_global_batch(tmp_path, two_ranks, name):
    trained, model = RUNS[name].start(tmp_path)
    for rank in two_ranks:
        assert largest_gap(rank[name]["weights"], weights_of(model)) < 1e-5
        for figure in ("loss", "learning_rate", "recall@3"):
            expected = [entry[figure] for entry in trained.curve]
            assert [entry[figure] for entry in rank[name]["curve"]] == pytest.approx(expected, rel=1e-5)


def test_rows_are_gathered_rank_by_rank_however_many_each_has(two_ranks):
    expected = [[[1.0, 1.0]] * 2 + [[2.0, 2.0]] * 3, [[1.0, 1.0]] * 2, []]
    assert [rank["gathered"] for rank in two_ranks] == [expected, expected]


def test_gradients_are_averaged_also_where_a_rank_has_none(two_ranks):
    first, second = (rank["gradients"]["gradients"] for rank in two_ranks)
    assert largest_gap(first, second) == 0
    assert first["table.weight"].tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    assert first["linear.weight"].tolist() == [[0.5, 0.5]]


def test_weights_are_shared_from_the_first_rank(two_ranks):
    first, second = (rank["gradients"] for rank in two_ranks)
    assert largest_gap(first["started"], second["started"]) > 0.01
    assert largest_gap(first["started"], first["weights"]) == largest_gap(first["weights"], second["weights"]) == 0


def test_ranks_that_do_not_see_the_same_checkpoint_say_so(two_ranks):
    for rank in two_ranks:
        assert "they do not see the same" in rank["not shared"]


def test_without_an_environment_there_is_one_process(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with process_group.process_group() as group:
        assert (group.rank, group.world_size, group.is_first) == (0, 1, True)
        assert group.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_more_processes_than_gpus_is_an_error_with_both_numbers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with (
        pytest.raises(ConfigError, match="process 3 of this machine has no GPU, for it has 2"),
        process_group.process_group(),
    ):
        pass
