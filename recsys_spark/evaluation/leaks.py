"""Leak check: events planted after the end of the data may change nothing that was fitted before, nor be rewarded.

A new customer and some old ones buy a new product twice after the last line of the data. The same stages then run on
those lines, with the cutoffs of the run. Everything that knows only earlier events must come out equal: cleaned lines,
tables of the baselines up to val, and their lists for every query of the run. The planted product may stand in none.
Factors of NMF that ALS fitted are not held against each other, nor the lists made of them: the planted product and
customer shift the ids that ALS starts from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.nmf import is_left_to_als
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    MODEL_TABLES,
    NMF_FACTORS,
    RANKINGS,
    RAW_LINES,
    SPLIT_CUTOFFS,
    SPLIT_OF_FIT,
    USER_ITEM_MATRIX,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import GateError
from recsys_spark.contracts.model_config import NmfConfig
from recsys_spark.contracts.schemas import RAW_LINES as RAW_LINES_TABLE
from recsys_spark.evaluation.runs import Run
from recsys_spark.stage import Metrics, Stage, StageIO, run_stage
from recsys_spark.storage import Storage

PLANTED = "LEAK CHECK"  # the planted customer, product and invoice
LEAK_CHECK = "leak_check"  # folder below the root of the runs
_OLD_CUSTOMERS = 50
_EARLY_FITS = ("fold", "train", "val")
_NEIGHBOUR = "neighbour_idx"


@dataclass(frozen=True)
class Compared:
    """Paths of what came out equal, and of what cannot be held against each other."""

    equal: tuple[str, ...]
    unchecked: tuple[str, ...]


def check_leaks(stages: Sequence[Stage], config: PipelineConfig, storage: Storage) -> Compared:
    """Run the stages on planted lines and compare.

    stages: those from `clean` to the last one that fits or ranks, all of them done in `storage`. Raises GateError
    naming every artifact that the planted lines changed, and every model that lists the planted product.
    """
    cutoffs = storage.read_json(SPLIT_CUTOFFS.path)
    root = f"{config.paths.processed.rstrip('/')}/{LEAK_CHECK}"
    split = replace(
        config.split, fold_end=cutoffs["fold_end"], train_end=cutoffs["train_end"], val_end=cutoffs["val_end"]
    )
    planted_config = replace(config, paths=replace(config.paths, processed=root), split=split)
    planted = Storage(root, storage.spark)
    run_stage(_plant_stage(storage), planted_config, planted, force=True)
    for stage in stages:
        run_stage(stage, planted_config, planted)
    return compare(Run(storage), Run(planted), config.baselines.models, config.nmf)


def planted_lines(raw: DataFrame, interactions: DataFrame) -> DataFrame:
    """RAW_LINES with the planted ones behind: one and two days after the last event."""
    old = interactions.select("customer_id").distinct().orderBy(F.xxhash64("customer_id"), "customer_id")
    buyers = old.limit(_OLD_CUSTOMERS).unionByName(
        old.sparkSession.range(1).select(F.lit(PLANTED).alias("customer_id"))
    )
    last = interactions.agg(F.max("invoice_date").alias("last"))
    days = F.explode(F.sequence(F.lit(1), F.lit(2))).alias("days")
    orders = buyers.crossJoin(F.broadcast(last)).select("customer_id", "last", days)
    moment = F.expr("last + make_interval(0, 0, 0, days)")
    values = {
        "customer_id": F.col("customer_id"),
        "invoice_date": F.date_format(moment, "yyyy-MM-dd HH:mm:ss"),
        "invoice_id": F.lit(PLANTED),
        "stock_code": F.lit(PLANTED),
        "description": F.lit(PLANTED),
        "quantity": F.lit("1"),
        "line_amount": F.lit("1.00"),
        "source_file": F.lit(PLANTED),
        "source_sheet": F.col("customer_id"),
        "source_row": F.col("days").cast("bigint"),
    }
    columns = [
        values.get(column.name, F.lit(None)).cast(column.type).alias(column.name) for column in RAW_LINES_TABLE.columns
    ]
    return raw.unionByName(orders.select(*columns))


def compare(run: Run, planted: Run, models: Sequence[str], nmf: NmfConfig) -> Compared:
    """Hold what knows only events of the run against the same with planted lines; see check_leaks."""
    equal, unchecked, faults = [], [], []
    last, by_als = run.table(INTERACTIONS_CLEAN).agg(F.max("invoice_date").alias("last")), _made_by_als(run, nmf)
    for label, of_run, of_planted in _comparable(run, planted, models, last):
        if label in by_als:
            unchecked.append(label)
            continue
        equal.append(label)
        if _fingerprint(of_run) != _fingerprint(of_planted):
            faults.append(f"{label} differs although only later lines were added")
    for model, split in product(models, SPLIT_OF_FIT.values()):
        lists = planted.table(RANKINGS, model=model, split=split)
        if not lists.filter(F.array_contains("stock_codes", PLANTED)).isEmpty():
            faults.append(f"{RANKINGS.path_of(model=model, split=split)} lists a product that no fit can know")
    if faults:
        raise GateError("leak check: " + "; ".join(faults))
    return Compared(tuple(equal), tuple(unchecked))


def _made_by_als(run: Run, config: NmfConfig) -> Collection[str]:
    """Paths of the factors that ALS fitted, and of the lists that are ranked by them."""
    found = []
    for fit in _EARLY_FITS:
        has_factors = run.storage.manifest(NMF_FACTORS.path_of(fit=fit)) is not None
        if has_factors and is_left_to_als(run.table(USER_ITEM_MATRIX, fit=fit), config):
            found.append(NMF_FACTORS.path_of(fit=fit))
            found += [RANKINGS.path_of(model="nmf", split=SPLIT_OF_FIT[fit])] if fit in SPLIT_OF_FIT else []
    return found


def _comparable(
    run: Run, planted: Run, models: Sequence[str], last: DataFrame
) -> Iterator[tuple[str, DataFrame, DataFrame]]:
    """Label, table of the run, and the same of the planted run without what is later than the run."""

    def until_last(frame: DataFrame, time: str) -> DataFrame:
        return frame.join(F.broadcast(last), on=F.col(time) <= F.col("last"), how="inner").drop("last")

    interactions = planted.table(INTERACTIONS_CLEAN)
    yield INTERACTIONS_CLEAN.path, run.table(INTERACTIONS_CLEAN), until_last(interactions, "invoice_date")
    for artifact in (ITEM_POPULARITY, *MODEL_TABLES):
        if artifact.keys == ("fit",):
            for fit in _EARLY_FITS:
                if run.storage.manifest(artifact.path_of(fit=fit)):
                    own, other = (_named(one, one.table(artifact, fit=fit)) for one in (run, planted))
                    yield artifact.path_of(fit=fit), own, other
    for model, split in product(models, SPLIT_OF_FIT.values()):
        own, other = (one.table(RANKINGS, model=model, split=split).drop("query_id") for one in (run, planted))
        yield RANKINGS.path_of(model=model, split=split), own, until_last(other, "event_time")


def _named(run: Run, frame: DataFrame) -> DataFrame:
    """The frame under source ids: a planted product or customer shifts the dense ones."""
    maps = {"item_idx": ITEM_ID_MAP, "user_idx": CUSTOMER_ID_MAP}
    own = next((index for index in maps if index in frame.columns), None)
    for index, artifact in {**maps, **({_NEIGHBOUR: maps[own]} if own else {})}.items():
        if index in frame.columns:  # a neighbour is of the same kind as its row
            idx, code = run.table(artifact).columns
            ids = run.table(artifact).select(F.col(idx).alias(index), F.col(code).alias(f"{index}_code"))
            frame = frame.join(ids, on=index, how="left").drop(index)
    return frame


def _fingerprint(frame: DataFrame) -> tuple[int, int | None]:
    """Number of rows and a digest that does not depend on their order."""
    columns = sorted(frame.columns)
    found = frame.agg(F.count(F.lit(1)).alias("rows"), F.bit_xor(F.xxhash64(*columns)).alias("digest")).first()
    assert found is not None  # an aggregate without keys has one row
    return found["rows"], found["digest"]


def _plant_stage(source: Storage) -> Stage:
    def run(io: StageIO, _config: PipelineConfig) -> Metrics:
        origin = Run(source)
        lines = planted_lines(origin.table(RAW_LINES), origin.table(INTERACTIONS_CLEAN))
        return {"lines": io.write(RAW_LINES, lines)}

    return Stage("plant", reads=(), writes=(RAW_LINES,), sections=(), run=run)
