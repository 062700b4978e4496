"""The learning rate of each epoch: in a first training, and in one that goes on as long as that took to its best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recsys_spark.contracts.ranker_config import RankerConfig


def cosine(learning_rate: float, epochs: int) -> tuple[float, ...]:
    """The learning rate of each epoch, falling by half a cosine (Loshchilov and Hutter, ICLR 2017), (epochs,).

    >>> [round(rate, 3) for rate in cosine(1.0, 4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return tuple(learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs)) for epoch in range(epochs))


def rates_of(config: RankerConfig) -> tuple[float, ...]:
    """Those of a first training, (max_epochs,); empty where the plateau rule finds them as it goes."""
    return cosine(config.learning_rate, config.max_epochs) if config.schedule == "cosine" else ()


def rates_again(config: RankerConfig, told: Mapping[str, Any]) -> tuple[float, ...]:
    """Those of as many epochs as a member took to its best, (best_epoch,). told: what its training came to.

    A cosine falls over these epochs: broken off after them, the last steps would still be large ones.
    """
    if config.schedule == "cosine":
        return cosine(config.learning_rate, told["best_epoch"])
    return tuple(entry["learning_rate"] for entry in told["curve"][: told["best_epoch"]])
