"""Customers and items that a fit has not seen, in finished runs (--run NAME=ROOT): segments and content against less.

Cold customers are few, so more are made: customers are withheld from the fit, a fifth at a time, and what they had
bought up to the cutoff is taken away. Their first order behind the cutoff is then all that is known of them, and their
second is asked for. The smoothing of segments is chosen on val in the same way. New items are those first sold after
the cutoff; they are ranked among themselves. Intervals are paired, by Poisson bootstrap over customers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.harness import Figure, figure, report
from recsys_spark.arrays import Floats
from recsys_spark.baselines.category_popularity import fit_category_popularity
from recsys_spark.baselines.item_content import item_content
from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.new_items import NewItemNeighbours
from recsys_spark.baselines.popularity import FittedPopularity, Popularity, fit_popularity
from recsys_spark.baselines.query_batches import with_queries
from recsys_spark.baselines.ranking import Model, rank
from recsys_spark.baselines.segment_fit import fit_segment_popularity
from recsys_spark.baselines.segment_popularity import SegmentPopularity
from recsys_spark.baselines.tuning import GRIDS
from recsys_spark.command_line import storage_of
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import SPLIT_OF_FIT
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.contracts.model_config import BaselinesConfig
from recsys_spark.evaluation.bootstrap import poisson_weights
from recsys_spark.evaluation.runs import Run
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.split import END_OF_TIME, cutoff
from recsys_spark.session import get_session

FOLDS, K, REPLICATES = 5, 20, 1000
ITEM_KS = (5, 20)  # where few items are new, twenty hold them all
SETTINGS = BaselinesConfig()


@dataclass
class World:
    """A run's lines and ids; what is fitted goes to files below `folder`."""

    run: Run
    folder: Path
    written: int = 0

    def __post_init__(self) -> None:
        self.lines = self.run.table(artifacts.INTERACTIONS_CLEAN).cache()
        self.items = self.run.table(artifacts.ITEM_ID_MAP).cache()
        self.customers = self.run.table(artifacts.CUSTOMER_ID_MAP).cache()
        ends = self.run.cutoffs()
        self.ends = {"train": (ends["train_end"], ends["val_end"]), "val": (ends["val_end"], END_OF_TIME)}
        self.codes = partial(load_codes, *self.fitted(self.items))

    def fitted(self, frame: DataFrame) -> tuple[str, str]:
        """Where a frame lies as a table, and a fingerprint of its own."""
        self.written += 1
        path = str(self.folder / str(self.written))
        frame.write.parquet(path)
        return path, path


def withheld(world: World, fit: str, fold: int) -> tuple[DataFrame, DataFrame, DataFrame]:
    """The lines that the fit may know, those of the fold's customers behind the cutoff, and their queries.

    A query is a customer's second order behind the cutoff and up to the end of the split.
    """
    after, until = world.ends[fit]
    is_withheld = F.pmod(F.xxhash64("customer_id", F.lit(1)), F.lit(FOLDS)) == fold
    is_later = F.col("invoice_date") > cutoff(after)
    known = world.lines.filter(~is_withheld & ~is_later)
    later = world.lines.filter(is_withheld & is_later & (F.col("invoice_date") <= cutoff(until)))
    orders = later.groupBy("customer_id").agg(F.sort_array(F.collect_set("invoice_date")).alias("times"))
    second = orders.filter(F.size("times") > 1).select("customer_id", F.col("times")[1].alias("event_time"))
    queries = second.join(world.customers, on="customer_id", how="inner")
    return known, later, queries.withColumn("query_id", F.col("user_idx"))


def positives_of(later: DataFrame, queries: DataFrame, items: DataFrame) -> pd.DataFrame:
    """query_id, user_idx, stock_code, is_repeat: what the queries' orders hold."""
    asked = later.join(
        queries.select("customer_id", "user_idx", "query_id", "event_time"), on="customer_id", how="inner"
    )
    own = asked.join(items, on="stock_code", how="inner")
    bought = own.filter(F.col("invoice_date") < F.col("event_time")).select("query_id", "stock_code").distinct()
    wanted = own.filter(F.col("invoice_date") == F.col("event_time")).select("query_id", "user_idx", "stock_code")
    told = wanted.distinct().join(bought.withColumn("is_repeat", F.lit(True)), ["query_id", "stock_code"], "left")
    return told.fillna({"is_repeat": False}).toPandas()


def hits(lists: DataFrame, positives: pd.DataFrame, protocol: str, k: int = K) -> pd.DataFrame:
    """The positives that a protocol counts, with `hit` for those among the first k."""
    counted = positives if protocol == "all_items" else positives[~positives["is_repeat"]]
    top = lists.filter(F.col("protocol") == protocol).select(
        "query_id", F.explode(F.slice("stock_codes", 1, k)).alias("stock_code")
    )
    near = pd.DataFrame(top.toPandas())
    found = counted.merge(near.assign(hit=1.0), on=["query_id", "stock_code"], how="left")
    return found.fillna({"hit": 0.0}).sort_values(["query_id", "stock_code"], ignore_index=True)


def fold_models(world: World, known: DataFrame, fit: str, smoothings: list[float]) -> Iterator[tuple[str, Model]]:
    """Recent popularity, and segment popularity by smoothing, fitted to the lines."""
    end, days = world.ends[fit][0], SETTINGS.recent_days
    popularity = FittedPopularity(*world.fitted(fit_popularity(known, world.items, end, days)))
    counts = world.run.storage.spark.read.parquet(popularity.path)
    categories = FittedTable(*world.fitted(fit_category_popularity(known, world.items, counts, end)))
    named = world.run.storage.spark.read.parquet(categories.path)
    made = fit_segment_popularity(known, world.items, named, end, days, SETTINGS.segments)
    segments = FittedTable(*world.fitted(made))
    yield "recent", Popularity(popularity, by_recent=True)
    for smoothing in smoothings:
        yield str(smoothing), SegmentPopularity(popularity, segments, categories, smoothing)


def cold_customers(world: World, fit: str, smoothings: list[float]) -> dict[str, dict[str, pd.DataFrame]]:
    """Hits of withheld customers by protocol and model, over all folds."""
    found: dict[str, dict[str, list[pd.DataFrame]]] = {protocol: {} for protocol in LIST_PROTOCOLS}
    for fold in range(FOLDS):
        known, later, queries = withheld(world, fit, fold)
        known, later, queries = known.cache(), later.cache(), queries.cache()
        histories = customer_histories(later, world.items, world.customers, with_places=True)
        asked, positives = with_queries(histories, queries).cache(), positives_of(later, queries, world.items)
        for name, model in fold_models(world, known, fit, smoothings):
            lists = rank(asked, model, world.codes, LIST_LENGTH).cache()
            for protocol in LIST_PROTOCOLS:
                found[protocol].setdefault(name, []).append(hits(lists, positives, protocol))
            lists.unpersist()
        for frame in (known, later, queries, asked):
            frame.unpersist()
    return {
        protocol: {name: pd.concat(parts, ignore_index=True) for name, parts in of_models.items()}
        for protocol, of_models in found.items()
    }


def paired(users: npt.NDArray[np.int64], first: Floats, second: Floats) -> tuple[float, list[float], list[float]]:
    """Mean of the first over that of the second, and the intervals of that ratio and of the difference of means."""
    customers, place = np.unique(users, return_inverse=True)
    sums = [np.bincount(place, values) for values in (first, second, np.ones(len(users)))]
    weights = poisson_weights(customers, REPLICATES, seed=1).T.astype(np.float64)
    ones, others, sizes = (weights @ values for values in sums)
    bounds = (0.025, 0.975)
    ratio = [round(float(bound), 4) for bound in np.quantile(ones / np.maximum(others, 1e-12), bounds)]
    moved = [round(float(bound), 6) for bound in np.quantile((ones - others) / np.maximum(sizes, 1), bounds)]
    return float(first.sum() / max(second.sum(), 1e-12)), ratio, moved


def customer_figures(world: World, name: str) -> list[Figure]:
    """Segment popularity over recent popularity, with the smoothing that was best on val."""
    tried = [SETTINGS.segments.smoothing, *(next(iter(each.values())) for each in GRIDS["segment_popularity"])]
    val, made = cold_customers(world, "train", tried), []
    best = {
        protocol: max(tried, key=lambda smoothing: val[protocol][str(smoothing)]["hit"].mean())
        for protocol in LIST_PROTOCOLS
    }
    test = cold_customers(world, "val", sorted(set(best.values())))
    for protocol in LIST_PROTOCOLS:
        own, recent = test[protocol][str(best[protocol])], test[protocol]["recent"]
        ratio, interval, moved = paired(own["user_idx"].to_numpy(), own["hit"].to_numpy(), recent["hit"].to_numpy())
        on_val = {each: round(float(frame["hit"].mean()), 5) for each, frame in val[protocol].items()}
        detail: dict[str, Any] = {"interval": interval, "difference": moved, "val": on_val, "smoothing": best[protocol]}
        detail |= {"segments": own["hit"].mean(), "recent": recent["hit"].mean(), "positives": len(own)}
        detail |= {"customers": int(own["user_idx"].nunique())}
        label = f"cold_start.customers.recall@{K}.{protocol}.{name}"
        made.append(figure(label, ratio, "> 1.0", **detail))
    return made


def item_figures(world: World, fit: str, name: str) -> list[Figure]:
    """New items by neighbours over a draw among the new items, and over the same list for everyone."""
    split = SPLIT_OF_FIT[fit]
    codes = world.items.withColumnRenamed("item_idx", "pos_item_idx")
    eligible = world.run.table(artifacts.ITEM_POPULARITY, fit=fit)
    popularity = FittedPopularity(*world.fitted(eligible))
    content = FittedTable(*world.fitted(item_content(world.lines, world.items)))
    sequences = world.run.table(artifacts.SEQUENCES, split=split)
    is_new = sequences.join(eligible.withColumnRenamed("item_idx", "pos_item_idx"), on="pos_item_idx", how="left_anti")
    positives = is_new.join(codes, on="pos_item_idx", how="inner").select(
        "query_id", "user_idx", "stock_code", "is_repeat"
    )
    held = positives.toPandas()
    queries = world.run.table(artifacts.QUERIES, split=split).join(positives.select("query_id").distinct(), "query_id")
    histories = customer_histories(world.lines, world.items, world.customers)
    asked = with_queries(histories, queries).cache()
    num_new = world.items.count() - eligible.count()
    made, found = [], {}
    for label, prior in (("neighbours", SETTINGS.new_items_prior), ("everybody", 1e12)):
        model = NewItemNeighbours(popularity, content, SETTINGS.half_life_days, prior)
        lists = rank(asked, model, world.codes, LIST_LENGTH).cache()
        found[label] = {k: hits(lists, held, "first_purchase", k) for k in ITEM_KS}
    for k in ITEM_KS:
        own = found["neighbours"][k]
        drawn = np.full(len(own), min(k / max(num_new, 1), 1.0))  # what a random order finds in the mean
        for other, values in (("random", drawn), ("everybody", found["everybody"][k]["hit"].to_numpy())):
            ratio, interval, moved = paired(own["user_idx"].to_numpy(), own["hit"].to_numpy(), values)
            detail: dict[str, Any] = {"interval": interval, "difference": moved, "neighbours": own["hit"].mean()}
            detail |= {other: float(values.mean()), "positives": len(own), "new_items": num_new}
            made.append(figure(f"cold_start.items.recall@{k}_over_{other}.{split}.{name}", ratio, "> 1.0", **detail))
    return made


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="append", required=True, metavar="NAME=ROOT")
    given = parser.parse_args()
    conf = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "4", "spark.ui.showConsoleProgress": "false"}
    spark = get_session(SessionConfig(app_name="benchmark", conf={**conf, "spark.driver.memory": "4g"}))
    for name, root in (pair.split("=", 1) for pair in given.run):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Run(storage_of(root, spark)), Path(folder))
            items = [figure for fit in SPLIT_OF_FIT for figure in item_figures(world, fit, name)]
            report(f"cold_start_{name}", [*items, *customer_figures(world, name)])
        spark.catalog.clearCache()


if __name__ == "__main__":
    main()
