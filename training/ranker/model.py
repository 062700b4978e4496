"""The ranker: a residual MLP that scores the candidates of queries, once for each head."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from recsys_spark.contracts.ranker_file import EPSILON, HEADS
from training.dropout import Dropout
from training.ranker.segments import num_queries, z_scores
from training.ranker.transform import FeatureTransform


class RankerMLP(nn.Module):
    """Twice FC, ReLU, Dropout, LayerNorm, the second added to the first; FC, ReLU, Dropout; a linear head each.

    within_query: the features' z-scores within each query are inputs too. Names: N rows, F features, I inputs.
    """

    def __init__(self, transform: FeatureTransform, hidden: int, dropout: float, within_query: bool) -> None:
        super().__init__()
        num_inputs = len(transform.mean) * (2 if within_query else 1)
        self.transform, self.within_query = transform, within_query
        self.first = nn.Sequential(*_layer(num_inputs, hidden, dropout), nn.LayerNorm(hidden))
        self.second = nn.Sequential(*_layer(hidden, hidden, dropout), nn.LayerNorm(hidden))
        self.last = nn.Sequential(*_layer(hidden, hidden, dropout))
        self.heads = nn.Linear(hidden, len(HEADS))

    def forward(self, features_NF: Tensor, query_N: Tensor, dropped_NF: Tensor | None = None) -> Tensor:
        """Scores by head, (N, 2); of a query they have a meaning among one another alone.

        dropped_NF: features that a row does without; they are taken as the mean of train and of the query.
        """
        inputs_NI = self.transform(features_NF)
        if self.within_query:
            scaled_NF = z_scores(inputs_NI, query_N, num_queries(query_N), EPSILON)
            inputs_NI = torch.cat([inputs_NI, scaled_NF], dim=1)
        if dropped_NF is not None:
            inputs_NI = inputs_NI.masked_fill(dropped_NF.repeat(1, 1 + self.within_query), 0.0)
        x_NH = self.first(inputs_NI)
        scores: Tensor = self.heads(self.last(x_NH + self.second(x_NH)))
        return scores


def _layer(num_inputs: int, num_outputs: int, dropout: float) -> tuple[nn.Module, ...]:
    return nn.Linear(num_inputs, num_outputs), nn.ReLU(), Dropout(dropout)


class RankerEnsemble(nn.Module):
    """The mean of its members' scores."""

    def __init__(self, members: Iterable[RankerMLP]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features_NF: Tensor, query_N: Tensor) -> Tensor:
        return torch.stack([member(features_NF, query_N) for member in self.members]).mean(dim=0)
