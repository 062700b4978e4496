"""Small tensors are faster on one thread, and other tests run beside these."""

from __future__ import annotations

import pyarrow  # noqa: F401  before torch
import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    import torch

    torch.set_num_threads(1)
