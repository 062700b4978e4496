"""Dropout on a CPU: what share it zeroes, what it leaves alone, and that a seed decides."""

import pytest
import torch

from training.dropout import Dropout


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_its_share_is_zeroed_and_the_others_are_scaled_up(share):
    torch.manual_seed(1)
    x = torch.full((1000, 200), 3.0, requires_grad=True)
    dropped = Dropout(share)(x)
    assert sorted(set(dropped.detach().flatten().tolist())) == pytest.approx([0.0, 3.0 / (1 - share)])
    assert float((dropped == 0).float().mean()) == pytest.approx(share, abs=0.005)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach() / 3)


def test_nothing_changes_where_nothing_is_to_be_dropped():
    x = torch.randn(5, 4)
    assert torch.equal(Dropout(0.2).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize("shape", [(0, 3), (1,), (7, 3), (2, 3, 5)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_types_stay(shape, kind):
    dropped = Dropout(0.5)(torch.ones(shape, dtype=kind))
    assert (dropped.shape, dropped.dtype) == (torch.Size(shape), kind)
    assert set(dropped.flatten().tolist()) <= {0.0, 2.0}


def test_draws_follow_from_torchs_seed_and_places_are_independent():
    def drawn(seed):
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(4000, 8)) > 0

    assert torch.equal(drawn(1), drawn(1))
    first, second = drawn(1), drawn(2)
    assert float((first == second).float().mean()) == pytest.approx(0.5, abs=0.02)
    together = (first.float().T @ first.float()) / 4000  # of two columns kept together: a quarter of the rows
    assert torch.allclose(together, 0.25 + 0.25 * torch.eye(8), atol=0.04)
