"""Which parameters of a model have gradients of rows, and which whole ones."""

from __future__ import annotations

import pyarrow  # noqa: F401  as everywhere, before torch
from torch import nn


def sparse_and_dense(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained parameters: embedding tables whose gradients hold the rows of a batch alone, and all others."""
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding) and part.sparse}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sparse = [parameter for parameter in trained if id(parameter) in tables]
    return sparse, [parameter for parameter in trained if id(parameter) not in tables]
