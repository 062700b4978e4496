"""Dropout on a CPU, there and back: this project's against PyTorch's own, over the activations of a ranker's step."""

from __future__ import annotations

from functools import partial

import pyarrow  # noqa: F401  as everywhere, before torch
import torch
from torch import nn

from benchmarks.harness import figure, median_ratio, paired_seconds, report
from recsys_spark.contracts.ranker_config import RankerConfig
from training.dropout import Dropout

STEPS, REPETITIONS = 20, 15


def main() -> None:
    """Report the ratio of the times."""
    config = RankerConfig()
    x = torch.randn(config.batch_rows, config.hidden, requires_grad=True)

    def steps(layer: nn.Module) -> None:
        for _ in range(STEPS):
            x.grad = None
            layer(x).sum().backward()

    layers = {"ours": Dropout(config.dropout), "torch": nn.Dropout(config.dropout)}
    seconds = paired_seconds({name: partial(steps, layer) for name, layer in layers.items()}, REPETITIONS)
    ratio = median_ratio(seconds["ours"], seconds["torch"])
    report("dropout", [figure("dropout.time_over_torch", ratio, "< 1.0", seconds=seconds, shape=list(x.shape))])


if __name__ == "__main__":
    main()
