"""The ranker's layers."""

import pytest
import torch

from training.ranker.model import Dropout


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_dropout_zeroes_its_share_and_scales_the_others_up(share):
    torch.manual_seed(1)
    x = torch.full((1000, 200), 3.0, requires_grad=True)
    dropped = Dropout(share)(x)
    assert sorted(set(dropped.detach().flatten().tolist())) == pytest.approx([0.0, 3.0 / (1 - share)])
    assert float((dropped == 0).float().mean()) == pytest.approx(share, abs=0.005)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach() / 3)


def test_dropout_changes_nothing_where_nothing_is_to_be_dropped():
    x = torch.randn(5, 4)
    assert torch.equal(Dropout(0.2).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
