"""The loop: resumed runs end as undisturbed ones, faults stop with what is needed to look into them."""

from __future__ import annotations

import io
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  before torch
import pytest
import torch
from torch import Tensor, nn
from tqdm import tqdm

from recsys_spark.contracts.errors import TrainingError
from tests.support.towers import SmallRun, largest_gap, weights_of
from training import loop
from training.batches import RetrieverBatch
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
RUN = SmallRun()
NUM_STEPS = RUN.settings.max_epochs * RUN.steps
EVERY_STEP = replace(RUN.settings, checkpoint_seconds=0)
# Trains RUN with a checkpoint at each step, and says before each which it is.
IN_ANOTHER_PROCESS = """
import sys
from dataclasses import replace
import torch
from tests.support.towers import SmallRun
from training.process_group import Group

torch.set_num_threads(1)
run = SmallRun()

def batches(epoch, skip):
    for step, batch in enumerate(run.batches(epoch, skip, Group()), start=skip):
        print(epoch * run.steps + step, flush=True)
        yield batch

run.start(sys.argv[1], batches=batches, settings=replace(run.settings, checkpoint_seconds=0))
"""


class InterruptedRunError(Exception):
    """What ends a run in these tests."""


def stopping_before(stop: int):
    """The batches of RUN, ended by an exception where global step `stop` would get its own."""

    def batches(epoch: int, skip: int) -> Iterator[RetrieverBatch]:
        for step, batch in enumerate(RUN.batches(epoch, skip, Group()), start=skip):
            if epoch * RUN.steps + step == stop:
                raise InterruptedRunError
            yield batch

    return batches


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    trained, model = RUN.start(tmp_path_factory.mktemp("undisturbed"))
    return trained.curve, weights_of(model)


def assert_same(trained: Any, model: nn.Module, undisturbed: Any) -> None:
    curve, weights = undisturbed
    assert largest_gap(weights_of(model), weights) < 1e-6
    same = [name for name in curve[0] if name not in ("samples_per_second", "share_waiting")]
    assert [[entry[name] for name in same] for entry in trained.curve] == [
        pytest.approx([entry[name] for name in same], abs=1e-6) for entry in curve
    ]


def test_the_undisturbed_run_has_dropout_a_dev_slice_and_a_plateau(undisturbed):
    curve, _ = undisturbed
    assert RUN.shape.dropout > 0
    assert len({entry["recall@3"] for entry in curve}) > 1
    assert curve[-1]["learning_rate"] < curve[0]["learning_rate"]


@pytest.mark.parametrize("settings", [EVERY_STEP, RUN.settings], ids=["each step", "each epoch"])
def test_a_run_interrupted_at_any_step_ends_with_the_weights_of_an_undisturbed_one(tmp_path, undisturbed, settings):
    for stop in range(NUM_STEPS):
        folder = tmp_path / str(stop)
        with pytest.raises(InterruptedRunError):
            RUN.start(folder, batches=stopping_before(stop), settings=settings)
        assert_same(*RUN.start(folder, settings=settings), undisturbed)


def test_a_run_interrupted_at_every_step_in_turn_ends_with_the_weights_of_an_undisturbed_one(tmp_path, undisturbed):
    for stop in range(1, NUM_STEPS):
        with pytest.raises(InterruptedRunError):
            RUN.start(tmp_path, batches=stopping_before(stop), settings=EVERY_STEP)
    assert_same(*RUN.start(tmp_path, settings=EVERY_STEP), undisturbed)


def test_a_run_killed_with_sigkill_ends_with_the_weights_of_an_undisturbed_one(tmp_path, undisturbed):
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == RUN.steps + 2:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    taken = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]
    assert taken["step"] in (RUN.steps + 2, RUN.steps + 3)  # it may have trained on before the signal came
    assert_same(*RUN.start(tmp_path, settings=EVERY_STEP), undisturbed)


def test_a_finished_run_is_not_trained_again(tmp_path, undisturbed):
    RUN.start(tmp_path)
    assert_same(*RUN.start(tmp_path, batches=stopping_before(0)), undisturbed)


def test_a_half_written_checkpoint_does_no_harm(tmp_path, undisturbed):
    with pytest.raises(InterruptedRunError):
        RUN.start(tmp_path, batches=stopping_before(7), settings=EVERY_STEP)
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt.tmp").write_bytes(whole[: len(whole) // 2])
    assert_same(*RUN.start(tmp_path, settings=EVERY_STEP), undisturbed)


def test_a_checkpoint_of_other_data_or_settings_is_ignored(tmp_path, undisturbed):
    with pytest.raises(InterruptedRunError):
        RUN.start(tmp_path, batches=stopping_before(7), settings=replace(EVERY_STEP, fingerprint="other", seed=2))
    assert_same(*RUN.start(tmp_path, settings=EVERY_STEP), undisturbed)


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"x" * 99])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path, damage):
    with pytest.raises(InterruptedRunError):
        RUN.start(tmp_path, batches=stopping_before(7), settings=EVERY_STEP)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingError, match=f"{path} cannot be used .*Remove the file"):
        RUN.start(tmp_path)


def test_a_checkpoint_of_another_model_is_named_with_what_to_do(tmp_path):
    with pytest.raises(InterruptedRunError):
        RUN.start(tmp_path, batches=stopping_before(7), settings=EVERY_STEP)
    with pytest.raises(TrainingError, match="cannot be used .*Remove the file"):
        replace(RUN, shape=replace(RUN.shape, dim=8)).start(tmp_path)


def test_the_curve_holds_what_each_epoch_came_to(tmp_path):
    reported: list[dict[str, float]] = []
    trained, _ = RUN.start(tmp_path, report=reported.append)
    names = ["epoch", "loss", "learning_rate", "samples_per_second", "share_waiting", "recall@1", "recall@3"]
    assert [list(entry) for entry in trained.curve] == [names] * RUN.settings.max_epochs
    assert [entry["epoch"] for entry in trained.curve] == [1, 2, 3]
    assert all(0 < entry["share_waiting"] < 1 for entry in trained.curve)
    assert reported == trained.curve
    assert 0 < trained.share_waiting < 1


def test_the_time_spent_waiting_for_batches_is_counted(tmp_path):
    def slow(epoch: int, skip: int) -> Iterator[RetrieverBatch]:
        for batch in RUN.batches(epoch, skip, Group()):
            time.sleep(0.05)
            yield batch

    trained, _ = RUN.start(tmp_path, batches=slow, settings=replace(RUN.settings, max_epochs=1))
    assert trained.curve[0]["share_waiting"] > 0.5
    assert trained.share_waiting * trained.seconds == pytest.approx(RUN.steps * 0.05, rel=0.3)


def test_the_bar_shows_loss_speed_and_share_of_waiting(tmp_path, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(
        loop, "tqdm", lambda **given: tqdm(**{**given, "disable": False, "file": shown, "mininterval": 0})
    )
    RUN.start(tmp_path)
    assert re.search(r"epoch 1: .*loss=[\d.]+, samples_per_second=[\d.e+]+, share_waiting=0\.\d+", shown.getvalue())


# A model of one number, whose loss, gradient and metric a test states


@dataclass(frozen=True)
class Numbers:
    values: Tensor

    def __len__(self) -> int:
        return len(self.values)


class OneNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(5.0))


class Given:
    """Loss weight x mean of the batch, so that AdamW takes a step of the learning rate; dev metrics in turn."""

    def __init__(self, metrics: list[float] | None = None) -> None:
        self.model = OneNumber()
        self.metrics = metrics or []
        self.after_epoch: list[float] = []

    def loss(self, batch: Numbers, step: int) -> Tensor:
        return (self.model.weight * batch.values).mean()

    def evaluate(self) -> dict[str, float]:
        self.after_epoch.append(self.model.weight.item())
        return {"recall@20": self.metrics[len(self.after_epoch) - 1]} if self.metrics else {}


def fit(task: Any, folder: Path, rows: Tensor | None = None, **settings: Any):
    """Two steps an epoch, each on two of four rows."""
    values = torch.ones(4) if rows is None else rows

    def batches(epoch: int, skip: int) -> Iterator[Numbers]:
        return iter([Numbers(values[:2]), Numbers(values[2:])][skip:])

    optimizers = Optimizers(task.model, learning_rate=0.1)
    return Loop(task, optimizers, batches, LoopSettings(**settings), Group(), folder).run()


def test_training_stops_early_and_the_model_holds_the_best_weights(tmp_path):
    task = Given([0.1, 0.3, 0.2, 0.3, 0.9, 0.9])
    trained = fit(task, tmp_path, max_epochs=6, patience=1)
    assert len(trained.curve) == 4  # the second epoch in a row without a better metric
    assert trained.best_epoch == 2
    assert task.model.weight.item() == task.after_epoch[1]


def test_the_learning_rate_falls_by_half_after_an_epoch_without_a_better_metric(tmp_path):
    trained = fit(Given([0.1, 0.3, 0.2, 0.4, 0.2, 0.1]), tmp_path, max_epochs=6, patience=9)
    assert [entry["learning_rate"] for entry in trained.curve] == [0.1, 0.1, 0.1, 0.05, 0.05, 0.025]


def test_given_learning_rates_are_used_epoch_by_epoch(tmp_path):
    task = Given()
    trained = fit(task, tmp_path, max_epochs=3, learning_rates=(0.1, 0.02, 0.01))
    assert [entry["learning_rate"] for entry in trained.curve] == [0.1, 0.02, 0.01]
    steps = [5.0, *task.after_epoch]
    assert [before - after for before, after in pairwise(steps)] == pytest.approx([0.2, 0.04, 0.02], rel=1e-3)


def test_without_a_dev_slice_the_number_of_epochs_is_exact_and_the_last_weights_stay(tmp_path):
    task = Given()
    trained = fit(task, tmp_path, max_epochs=5, patience=0)
    assert (len(trained.curve), trained.best_epoch) == (5, 5)
    assert task.model.weight.item() == task.after_epoch[-1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_the_step_and_the_batch(tmp_path, value):
    rows = torch.ones(4)
    rows[3] = value
    task = Given()
    with pytest.raises(TrainingError, match=rf"the loss is {value} in step 1 \(epoch 1\); the batch is kept in"):
        fit(task, tmp_path / "new", rows, max_epochs=5)
    kept = torch.load(tmp_path / "new" / "failed_step_1_rank_0.pt", weights_only=True)
    assert torch.allclose(kept["values"], rows[2:], equal_nan=True)
    assert kept["values"].untyped_storage().nbytes() == 2 * 4  # not the buffer that the batch is a view of
    assert task.model.weight.item() == pytest.approx(4.9)  # that of one good step


def test_a_gradient_that_is_no_number_stops_before_the_weights_are_touched(tmp_path):
    class Steep(Given):
        def loss(self, batch: Numbers, step: int) -> Tensor:
            return (self.model.weight * 0).sqrt() if step == 1 else super().loss(batch, step)

    task = Steep()
    with pytest.raises(TrainingError, match="the norm of the gradients is nan in step 1"):
        fit(task, tmp_path, max_epochs=5)
    assert task.model.weight.item() == pytest.approx(4.9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_resumed_run_on_a_gpu_in_bfloat16_goes_on_from_its_checkpoint(tmp_path):
    group, settings = Group(device=torch.device("cuda:0")), replace(EVERY_STEP, autocast=True)
    with pytest.raises(InterruptedRunError):
        RUN.start(tmp_path, group, batches=stopping_before(7), settings=settings)
    resumed, model = RUN.start(tmp_path, group, settings=settings)
    whole, other = RUN.start(tmp_path / "whole", group, settings=settings)
    assert largest_gap(weights_of(model), weights_of(other)) < 0.05
    assert [entry["loss"] for entry in resumed.curve] == pytest.approx([e["loss"] for e in whole.curve], rel=0.05)
