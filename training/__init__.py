"""Everything that trains: PyTorch and LightGBM, without Spark."""

import recsys_spark.contracts  # noqa: F401  its package says how threads wait, before torch is loaded
