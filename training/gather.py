"""Rows by their indices, with a gradient that is the same each time."""

from __future__ import annotations

import pyarrow  # noqa: F401  as everywhere, before torch
import torch.nn.functional as nnf
from torch import Tensor


def rows_of(values: Tensor, index: Tensor) -> Tensor:
    """`values[index]` of values (M, D) or (M,): (*index.shape, D) or index.shape.

    Where an index occurs more than once, the gradient of PyTorch's own indexing adds up, on a CPU, in the order in
    which threads come by, and two trainings on the same data differ in the last digits. Those of the two look-ups here
    have one order.

    >>> import torch
    >>> rows_of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1, 1]])).shape
    torch.Size([1, 2, 2])
    """
    return values.index_select(0, index.flatten()).view_as(index) if values.ndim == 1 else nnf.embedding(index, values)
