"""Every figure of docs/results.md: `make bench NAME=...`."""

import recsys_spark  # noqa: F401  which says how threads wait, before torch is loaded
