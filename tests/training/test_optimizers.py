"""Lazy steps for sparse tables, one norm over all gradients, weight decay for matrices alone."""

from __future__ import annotations

import pyarrow  # noqa: F401  before torch
import pytest
import torch
from torch import Tensor, nn

from training.optimizers import Optimizers

pytestmark = pytest.mark.torch


class Scorer(nn.Module):
    """A table, a matrix with its bias, and a scalar."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(10, 4, sparse=sparse)
        self.linear = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, rows: Tensor) -> Tensor:
        return self.scale * self.linear(self.table(rows)).square().sum()


ROWS = torch.tensor([1, 3, 3, 7])  # one of them twice


def stepped(model: nn.Module, optimizers: Optimizers, rows: Tensor = ROWS, max_norm: float = 1e9) -> float:
    optimizers.zero_grad()
    model(rows).backward()
    norm = optimizers.clip(max_norm)
    optimizers.step()
    return norm


def test_rows_outside_the_batch_stay_untouched_also_after_they_had_momentum():
    model = Scorer(sparse=True)
    optimizers = Optimizers(model, learning_rate=0.1, weight_decay=0.5)
    stepped(model, optimizers)
    before = model.table.weight.detach().clone()
    stepped(model, optimizers, torch.tensor([5]))
    changed = (model.table.weight != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("max_norm", [0.5, 1e9])
def test_clipping_sparse_and_dense_gradients_together_equals_clip_grad_norm_of_a_dense_twin(max_norm):
    model, twin = Scorer(sparse=True), Scorer(sparse=False)
    optimizers = Optimizers(model, learning_rate=0.1)
    model(ROWS).backward()
    twin(ROWS).backward()
    expected = nn.utils.clip_grad_norm_(twin.parameters(), max_norm)
    assert optimizers.clip(max_norm) == pytest.approx(float(expected), rel=1e-6)
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad.to_dense(), other.grad, rtol=1e-5)


def test_a_first_step_on_a_sparse_table_equals_adam_on_its_rows():
    model, twin = Scorer(sparse=True), Scorer(sparse=False)
    stepped(model, Optimizers(model, learning_rate=0.1))
    twin(ROWS).backward()
    torch.optim.Adam(twin.parameters(), lr=0.1).step()
    assert torch.allclose(model.table.weight[[1, 3, 7]], twin.table.weight[[1, 3, 7]], atol=1e-6)


@pytest.mark.parametrize("sparse", [True, False])
def test_weight_decay_is_for_matrices_and_not_for_tables_biases_and_scalars(sparse):
    found = {}
    for weight_decay in (0.0, 0.5):
        model = Scorer(sparse)
        stepped(model, Optimizers(model, learning_rate=0.1, weight_decay=weight_decay))
        found[weight_decay] = dict(model.named_parameters())
    same = {name for name, value in found[0.0].items() if torch.equal(value, found[0.5][name])}
    assert same == {"table.weight", "linear.bias", "scale"}


def test_what_needs_no_gradient_gets_none():
    model = Scorer(sparse=True)
    model.scale.requires_grad_(False)
    stepped(model, Optimizers(model, learning_rate=0.1, weight_decay=0.5))
    assert model.scale.item() == 2.0


def test_state_goes_through_a_file_and_back(tmp_path):
    model, twin = Scorer(sparse=True), Scorer(sparse=True)
    optimizers, others = (Optimizers(one, learning_rate=0.1, weight_decay=0.1) for one in (model, twin))
    for metric in (0.5, 0.4):  # the second lowers the learning rate
        stepped(model, optimizers)
        optimizers.plateau(metric)
    torch.save([model.state_dict(), optimizers.state_dict()], tmp_path / "state.pt")
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    twin.load_state_dict(weights)
    others.load_state_dict(state)
    for metric in (0.4, 0.6):
        for one, its in ((model, optimizers), (twin, others)):
            stepped(one, its)
            its.plateau(metric)
    assert others.learning_rate == optimizers.learning_rate == 0.025
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_given_learning_rate_holds_for_tables_and_matrices():
    model = Scorer(sparse=True)
    optimizers = Optimizers(model, learning_rate=0.1)
    optimizers.set_learning_rate(0.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    stepped(model, optimizers)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
