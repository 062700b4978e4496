"""The one epoch loop: step, log, validate, checkpoint, stop early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Sized
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from recsys_spark.contracts.errors import TrainingError
from training.checkpoint import Checkpoints
from training.files import folder_on_disk
from training.optimizers import Optimizers
from training.process_group import Group

Batch = TypeVar("Batch", bound=Sized)  # a dataclass of tensors; its length is the number of samples
_Given = TypeVar("_Given", bound=Sized, contravariant=True)
Curve = list[dict[str, float]]

_STEPS_SHOWN = 20


class TrainingTask(Protocol[_Given]):
    """What is trained: a model with the loss of a batch and, where there is a dev slice, its metrics there."""

    @property
    def model(self) -> nn.Module: ...

    def loss(self, batch: _Given, step: int) -> Tensor:
        """A rank's part of a global step; the mean over ranks is the loss. Follows from arguments and parameters."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Metrics on the dev slice, equal on every rank; empty where there is none."""
        ...


@dataclass(frozen=True)
class LoopSettings:
    """max_epochs: at most, or exactly without a dev metric. metric: of `evaluate`, larger is better.

    patience: epochs in a row without a better metric that are borne; one more ends the training. checkpoint_seconds: at
    least between two checkpoints within an epoch; one is taken at the end of each. learning_rates: of each epoch, from
    an earlier run with a dev slice; empty for the plateau rule. fingerprint: of data and settings; a checkpoint of
    another is not gone on with.
    """

    max_epochs: int
    metric: str = "recall@20"
    patience: int = 2
    clip_norm: float = 1.0
    checkpoint_seconds: float = 300.0
    learning_rates: tuple[float, ...] = ()
    autocast: bool = False
    seed: int = 1
    fingerprint: str = ""


@dataclass
class Progress:
    """Where a run stands; all of it goes into a checkpoint. seconds, and those waited for data: over all starts."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    bad_epochs: int = 0
    best_epoch: int = 0
    best_metric: float = -math.inf
    seconds: float = 0.0
    waited: float = 0.0
    curve: Curve = field(default_factory=list)


@dataclass(frozen=True)
class Trained:
    """curve: one entry per epoch. best_epoch: from 1, the one whose weights the model holds.

    seconds: up to the last checkpoint, over all starts of the run.
    """

    curve: Curve
    best_epoch: int
    seconds: float
    share_waiting: float  # of the seconds, for data


class Loop(Generic[Batch]):
    """Trains a task on epochs of batches, from the newest checkpoint if there is one."""

    def __init__(
        self,
        task: TrainingTask[Batch],
        optimizers: Optimizers,
        batches: Callable[[int, int], Iterable[Batch]],
        settings: LoopSettings,
        group: Group,
        folder: str | Path,
        report: Callable[[dict[str, float]], None] = lambda _: None,
    ) -> None:
        """batches(epoch, skip): this rank's batches of an epoch from 0, without the first `skip`; as many on each rank.

        folder: for the checkpoint, seen by all ranks. report: gets each epoch's entry of the curve (TensorBoard,
        MLflow).
        """
        self.task, self.optimizers, self.batches = task, optimizers, batches
        self.settings, self.group, self.folder, self.report = settings, group, str(folder), report
        self.checkpoints = Checkpoints(folder, writes=group.is_first)
        self.progress = Progress()
        self.best: dict[str, Tensor] | None = None
        self._timed_until = 0.0

    def run(self) -> Trained:
        """Train to the end; the model then holds the weights of the best epoch.

        Raises TrainingError where a loss or gradient is no number, and for a checkpoint that cannot be gone on with.
        """
        self._timed_until = time.perf_counter()
        self._restore()
        while not self._is_over():
            self._epoch()
        if self.best is not None:
            self.task.model.load_state_dict(self.best)
        progress = self.progress
        share_waiting = progress.waited / max(progress.seconds, 1e-9)
        return Trained(progress.curve, progress.best_epoch or progress.epoch, progress.seconds, share_waiting)

    def _is_over(self) -> bool:
        return self.progress.epoch >= self.settings.max_epochs or self.progress.bad_epochs > self.settings.patience

    def _epoch(self) -> None:
        progress, settings, done = self.progress, self.settings, 0
        if progress.epoch < len(settings.learning_rates):
            self.optimizers.set_learning_rate(settings.learning_rates[progress.epoch])
        learning_rate = self.optimizers.learning_rate
        self.task.model.train()
        started, waited, saved = time.perf_counter(), progress.waited, time.monotonic()

        def pace() -> dict[str, float]:
            seconds = max(time.perf_counter() - started, 1e-9)
            return {"samples_per_second": done / seconds, "share_waiting": (progress.waited - waited) / seconds}

        batches = self._timed(self.batches(progress.epoch, progress.step_in_epoch))
        with closing(batches), self._bar() as bar:
            for batch in batches:
                loss = self._step(batch)
                done += len(batch) * self.group.world_size
                if progress.step_in_epoch % _STEPS_SHOWN == 1:
                    shown = {"loss": loss, **pace()}
                    bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
                bar.update()
                if time.monotonic() - saved >= settings.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()
        mean = progress.loss_sum / max(progress.step_in_epoch, 1)
        self._close_epoch({"epoch": progress.epoch + 1.0, "loss": mean, "learning_rate": learning_rate, **pace()})

    def _bar(self) -> tqdm[None]:
        """Shown by the first rank, on a terminal."""
        hidden = None if self.group.is_first else True
        name, done = f"epoch {self.progress.epoch + 1}", self.progress.step_in_epoch
        return tqdm(desc=name, initial=done, unit="batch", leave=False, disable=hidden)

    def _close_epoch(self, entry: dict[str, float]) -> None:
        progress = self.progress
        self.task.model.eval()
        with torch.no_grad():
            metrics = self.task.evaluate()
        entry |= metrics
        progress.curve.append(entry)
        progress.epoch, progress.step_in_epoch, progress.loss_sum = progress.epoch + 1, 0, 0.0
        if metrics:
            self._judge(metrics[self.settings.metric])
        if self.group.is_first:
            self.report(entry)
        self._save()

    def _judge(self, metric: float) -> None:
        progress = self.progress
        if metric > progress.best_metric:
            progress.best_metric, progress.best_epoch, progress.bad_epochs = metric, progress.epoch, 0
            state = self.task.model.state_dict()
            self.best = {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
        else:
            progress.bad_epochs += 1
        self.optimizers.plateau(metric)

    def _step(self, batch: Batch) -> float:
        progress, settings = self.progress, self.settings
        # What is drawn in a step (dropout) follows from its number: a resumed run draws the same.
        torch.manual_seed((settings.seed * 1_000_003 + progress.step) * 64 + self.group.rank)
        self.optimizers.zero_grad()
        with torch.autocast(self.group.device.type, torch.bfloat16, enabled=settings.autocast):
            loss = self.task.loss(batch, progress.step)
        mean = float(self.group.sum(loss.detach())) / self.group.world_size
        if not math.isfinite(mean):
            self._fail(batch, f"the loss is {mean}")
        torch.autograd.backward(loss)
        self.group.average_gradients(self.task.model)
        norm = self.optimizers.clip(settings.clip_norm)
        if not math.isfinite(norm):
            self._fail(batch, f"the norm of the gradients is {norm}")
        self.optimizers.step()
        progress.step += 1
        progress.step_in_epoch += 1
        progress.loss_sum += mean
        return mean

    def _fail(self, batch: Batch, fault: str) -> None:
        """Stop before anything is updated."""
        name = f"failed_step_{self.progress.step}_rank_{self.group.rank}.pt"
        kept = f"{self.folder}/{name}"
        with folder_on_disk(self.folder) as folder:
            # Cloned: a view would be saved with the whole buffer that it looks at.
            torch.save({key: value.cpu().clone() for key, value in vars(batch).items()}, folder / name)
        raise TrainingError(
            f"{fault} in step {self.progress.step} (epoch {self.progress.epoch + 1}); the batch is kept in {kept}. "
            "Try a lower learning rate or, where there is one, a higher temperature"
        )

    def _timed(self, batches: Iterable[Batch]) -> Generator[Batch, None, None]:
        """The batches, with the time until each is there added up."""
        source = iter(batches)
        while True:
            started = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            finally:
                self.progress.waited += time.perf_counter() - started
            yield batch

    def _save(self) -> None:
        now = time.perf_counter()
        self.progress.seconds += now - self._timed_until
        self._timed_until = now
        state = {
            "fingerprint": self.settings.fingerprint,
            "model": self.task.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "best": self.best,
            "progress": asdict(self.progress),
        }
        self.checkpoints.save(state)

    def _restore(self) -> None:
        state = self.checkpoints.load(self.settings.fingerprint)
        if state is not None:
            try:
                self.task.model.load_state_dict(state["model"])
                self.optimizers.load_state_dict(state["optimizers"])
                self.best, self.progress = state["best"], Progress(**state["progress"])
            except (KeyError, RuntimeError, TypeError, ValueError) as error:
                raise self.checkpoints.unusable(error) from error
        steps = self.group.gather_rows(torch.tensor([self.progress.step], device=self.group.device))
        if len(torch.unique(steps)) > 1:
            raise TrainingError(
                f"the ranks would go on from steps {steps.tolist()}: they do not see the same {self.checkpoints.path}. "
                "Put the run on storage that all nodes share"
            )
