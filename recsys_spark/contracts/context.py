"""When and where a query is asked: the features of its context, and how many values each is cut into.

The ranker and the towers share the buckets of recency; the towers learn a vector for each value of each feature.
"""

from __future__ import annotations

RECENCY_DAYS = (1, 7, 14, 28, 90)  # a bucket of days since the last order ends with each; one more lies beyond
RECENCY_NAMES = (*(f"recency_to_{days}" for days in RECENCY_DAYS), f"recency_over_{RECENCY_DAYS[-1]}")

# Features of a query's context in the order of an example's `context`, each with its largest value; 0 is none.
CONTEXT_SIZES = {
    "month": 12,
    "weekday": 7,  # from 1 for Sunday
    "recency": len(RECENCY_NAMES),
    "showroom": 1024,  # hashed
    "sales_channel": 64,  # hashed
}
PLACE_CONTEXT = ("showroom", "sales_channel")
