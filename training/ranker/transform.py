"""How features enter the MLP: each by its kind, standardised, and clipped. Names: N rows, F features, K knots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recsys_spark.contracts.ranker_file import LIMIT

NUM_KNOTS = 64
_CONSTANT = 1e-6  # a deviation below this share of the mean is rounding


class FeatureTransform(nn.Module):
    """Shapes each feature by its kind, then takes off the mean, divides by the standard deviation, and clips.

    kinds: `log`, sign(x) * log(1 + |x|); `standard`, x; `quantile`, linear between the quantiles of train, which lie
    evenly from -1 to 1. What it was fitted to are its buffers.
    """

    mean: Tensor  # (F,)
    deviation: Tensor  # (F,)
    knots: Tensor  # (features by quantile, K), ascending
    _is_log: Tensor
    _by_quantile: Tensor

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        by_quantile = [place for place, kind in enumerate(kinds) if kind == "quantile"]
        self.register_buffer("mean", torch.zeros(len(kinds)))
        self.register_buffer("deviation", torch.ones(len(kinds)))
        self.register_buffer("knots", torch.zeros(len(by_quantile), NUM_KNOTS))
        self.register_buffer("_is_log", torch.tensor([kind == "log" for kind in kinds]), persistent=False)
        self.register_buffer("_by_quantile", torch.tensor(by_quantile, dtype=torch.long), persistent=False)

    def forward(self, features_NF: Tensor) -> Tensor:
        standardised: Tensor = (self._shaped(features_NF) - self.mean) / self.deviation
        return standardised.clamp(-LIMIT, LIMIT)

    def fit(self, rows_NF: npt.NDArray[np.float32]) -> None:
        """Fit to rows of train. A feature with one value alone is only centred."""
        quantiles = np.quantile(rows_NF[:, self._by_quantile.cpu().numpy()], np.linspace(0, 1, NUM_KNOTS), axis=0)
        self.knots.copy_(torch.from_numpy(quantiles.T))
        shaped = self._shaped(torch.from_numpy(rows_NF).to(self.mean)).double()
        mean, deviation = shaped.mean(dim=0), shaped.std(dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.where(deviation > _CONSTANT * mean.abs(), 1.0))

    def _shaped(self, features_NF: Tensor) -> Tensor:
        shaped = torch.where(self._is_log, features_NF.sign() * features_NF.abs().log1p(), features_NF)
        if len(self.knots):
            shaped[:, self._by_quantile] = between_knots(features_NF[:, self._by_quantile], self.knots)
        return shaped


def between_knots(values_NF: Tensor, knots_FK: Tensor) -> Tensor:
    """Where values lie among ascending knots, from -1 at the first to 1 at the last, linear between two, (N, F).

    A value that is several knots at once lies in the middle of them: half of the rows were 0, say.
    """
    last = knots_FK.shape[1] - 1
    values_FN = values_NF.T.contiguous()
    above = torch.searchsorted(knots_FK, values_FN).clamp_max(last)  # the first knot not below
    below = (torch.searchsorted(knots_FK, values_FN, right=True) - 1).clamp_min(0)  # the last one not above
    low, high = knots_FK.gather(1, below), knots_FK.gather(1, above)
    share = (values_FN - low) / (high - low)
    place = torch.where(above > below, below + share, (above + below) / 2)
    return (place * (2 / last) - 1).T
