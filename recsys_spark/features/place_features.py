"""Where an item sells against where the customer buys: showrooms and sales channels, up to the cutoff of the fit.

Assortments differ: what its own showroom never sold, a customer can hardly buy. Names: C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.arrays import Floats, Ints, find, pair_keys
from recsys_spark.baselines.loading import numbers, read_columns
from recsys_spark.baselines.mapped_arrays import mapped
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.contracts.candidate_schemas import CUSTOMER_PLACES, ITEM_PLACES
from recsys_spark.sequences.places import placed_events, usual_places
from recsys_spark.sequences.split import cutoff

PREFIXES = {"showroom": "showroom", "sales_channel": "channel"}  # column of the lines -> prefix of the features
_PLACES_KEPT = 4  # of one Python process: two kinds, while one fit follows another


def fit_item_places(interactions: DataFrame, item_ids: DataFrame, cutoff_time: str) -> DataFrame:
    """ITEM_PLACES of the events up to the cutoff."""
    known = interactions.filter(F.col("invoice_date") <= cutoff(cutoff_time))
    counts = placed_events(known).groupBy("kind", "place", "stock_code")
    sold = counts.agg(F.count(F.lit(1)).alias("num_events"))
    return sold.join(item_ids, on="stock_code", how="inner").select(*ITEM_PLACES.names)


def fit_customer_places(interactions: DataFrame, customer_ids: DataFrame, cutoff_time: str) -> DataFrame:
    """CUSTOMER_PLACES of the events up to the cutoff: where each customer bought most, ties by the place's hash."""
    known = interactions.filter(F.col("invoice_date") <= cutoff(cutoff_time))
    usual = usual_places(known).join(customer_ids, on="customer_id", how="inner")
    return usual.select(*CUSTOMER_PLACES.names)


@dataclass(frozen=True)
class Places:
    """One kind of place. keys: ascending (place, item) pairs with their events; by item: all its events that name a
    place of the kind. place_of: by user_idx, the number of the customer's place from 1, 0 for none.
    """

    keys: Ints
    events: Floats
    of_item: Floats
    place_of: Ints


@mapped(_PLACES_KEPT)
def load_places(items: FittedTable, customers: FittedTable, kind: str) -> Places:
    """Of ITEM_PLACES and CUSTOMER_PLACES, once per Python process."""
    sold, bought = (read_columns(table.path).filter(pc.field("kind") == kind) for table in (items, customers))
    places, item_of, users = numbers(sold, "place"), numbers(sold, "item_idx"), numbers(bought, "user_idx")
    names = np.unique(places)
    keys = pair_keys(np.searchsorted(names, places) + 1, item_of)
    order = np.argsort(keys)
    events = numbers(sold, "num_events").astype(np.float64)
    place_of = np.zeros(int(users.max(initial=0)) + 1, dtype=np.int64)
    place_of[users] = np.searchsorted(names, numbers(bought, "place")) + 1
    of_item = np.bincount(item_of, weights=events, minlength=1).astype(np.float64)
    return Places(keys[order], events[order], of_item, place_of)


def place_features(
    items_table: FittedTable, customers_table: FittedTable, users: Ints, items: Ints
) -> dict[str, Floats]:
    """The group `place` of C (customer, item) pairs, (C,) each; 0 for whom or what the fit does not know."""
    found: dict[str, Floats] = {}
    for kind, prefix in PREFIXES.items():
        places = load_places(items_table, customers_table, kind)
        own = np.where(users < len(places.place_of), places.place_of[np.minimum(users, len(places.place_of) - 1)], 0)
        at, is_there = find(places.keys, pair_keys(own, items))
        sold = np.zeros(len(items))
        sold[is_there] = places.events[at[is_there]]
        total = places.of_item[np.minimum(items, len(places.of_item) - 1)]
        found |= {f"{prefix}_share": sold / np.maximum(total, 1), f"{prefix}_sales": sold}
    return found
