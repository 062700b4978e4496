"""AdamW for weights, its lazy form for the rows of embedding tables, one plateau rule for both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from training.parameters import sparse_and_dense


class Optimizers:
    """Tables whose gradients are sparse get SparseAdam: a step touches the rows of the batch and no others.

    Weight decay is for matrices alone, not for tables, biases, norms and scalars.
    """

    def __init__(
        self, model: nn.Module, learning_rate: float, weight_decay: float = 0.0, plateau_factor: float = 0.5
    ) -> None:
        self._sparse, rest = sparse_and_dense(model)
        tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        is_matrix = {id(parameter): parameter.ndim > 1 and id(parameter) not in tables for parameter in rest}
        matrices = [parameter for parameter in rest if is_matrix[id(parameter)]]
        others = [parameter for parameter in rest if not is_matrix[id(parameter)]]
        self._dense = [*matrices, *others]
        self._all: list[torch.optim.Optimizer] = []
        if self._dense:
            groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
            self._all.append(torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate))
        if self._sparse:
            self._all.append(torch.optim.SparseAdam(self._sparse, lr=learning_rate))
        self._plateaus = [ReduceLROnPlateau(one, mode="max", factor=plateau_factor, patience=0) for one in self._all]

    @property
    def learning_rate(self) -> float:
        return float(self._all[0].param_groups[0]["lr"])

    def set_learning_rate(self, value: float) -> None:
        """For all parameters, until it is set or the plateau rule lowers it."""
        for one in self._all:
            for group in one.param_groups:
                group["lr"] = value

    def zero_grad(self) -> None:
        for one in self._all:
            one.zero_grad(set_to_none=True)

    def clip(self, max_norm: float) -> float:
        """Scale all gradients to a common norm of at most `max_norm`; returns the norm that they had."""
        gradients = self._gradients()
        if not gradients:
            return 0.0
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(values) for values in gradients]))
        scale = (max_norm / (norm + 1e-6)).clamp_max(1.0)
        for values in gradients:
            values.mul_(scale)
        return float(norm)

    def step(self) -> None:
        """Apply the gradients."""
        for one in self._all:
            one.step()

    def plateau(self, metric: float) -> None:
        """Lower the learning rate where an epoch brought no better dev metric."""
        for plateau in self._plateaus:
            plateau.step(metric)

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizers": [one.state_dict() for one in self._all],
            "plateaus": [plateau.state_dict() for plateau in self._plateaus],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for one, values in zip(self._all, state["optimizers"], strict=True):
            one.load_state_dict(values)
        for plateau, values in zip(self._plateaus, state["plateaus"], strict=True):
            plateau.load_state_dict(values)

    def _gradients(self) -> list[Tensor]:
        """Those of dense parameters, and the rows of sparse ones, each row once."""
        gradients = [parameter.grad for parameter in self._dense if parameter.grad is not None]
        for parameter in self._sparse:
            if parameter.grad is not None:
                parameter.grad = parameter.grad.coalesce()
                gradients.append(parameter.grad._values())
        return gradients
