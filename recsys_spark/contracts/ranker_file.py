"""What the ranker's trainer and its scorer agree on: the file between them, and constants of the forward pass."""

from __future__ import annotations

RANKER_FILE = "ranker_best.pt"
FORMAT = 1
HEADS = ("all", "first")  # columns of the scores: one ranking cannot serve all purchases and first ones both
LIMIT = 8.0  # standard deviations at which an input is clipped
EPSILON = 1e-3  # of z-scores, so that what is equal within a query but for rounding comes to nothing
