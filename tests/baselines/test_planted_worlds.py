"""One suite for all models: a checkerboard where even customers take even items, and each lacks one of its side."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from recsys_spark.baselines.ease import fit_ease_weights
from recsys_spark.baselines.fitting import Fit, fitted_tables, write_tables
from recsys_spark.baselines.matrices import user_item_matrix
from recsys_spark.baselines.nmf import fit_nmf_factors
from recsys_spark.baselines.query_batches import with_queries
from recsys_spark.baselines.ranking import rank
from recsys_spark.baselines.registry import ENTRIES, ModelSettings, build_model, tables_of
from recsys_spark.baselines.rolling import item_days
from recsys_spark.baselines.tifu_knn import fit_tifu_vectors
from recsys_spark.contracts import artifacts, model_schemas, schemas
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.model_config import (
    MODELS,
    NEW_ITEMS,
    SENTINEL,
    BaselinesConfig,
    EaseConfig,
    KnnConfig,
    NmfConfig,
    SegmentsConfig,
    TifuConfig,
)
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.stage import Stage, StageIO, run_stage
from recsys_spark.storage import Storage
from tests.support.frames import frame, rows
from tests.support.worlds import START, interactions

CUSTOMERS, PER_SIDE = 20, 5
NAMES = (*MODELS, SENTINEL)
# These know nobody's taste. The first four count sales, and all items of this world sell alike.
COUNTING = ("popularity", "recent_popularity", "rolling_popularity", "personal_frequency")
NOT_PERSONAL = (*COUNTING, SENTINEL)
COLD, LATE = "c20", "i10"  # no event up to the cutoff; an item first sold after it
SETTINGS = ModelSettings(
    BaselinesConfig(models=MODELS, segments=SegmentsConfig(min_customers=1, smoothing=1.0)),
    KnnConfig(min_support=1, shrinkage=1.0),
    EaseConfig(l2=1.0, min_customers=2),
    TifuConfig(group_size=2, num_neighbours=5),
    NmfConfig(num_factors=2),
)
SOURCES = (artifacts.INTERACTIONS_CLEAN, artifacts.ITEM_ID_MAP, artifacts.CUSTOMER_ID_MAP, artifacts.SEQUENCES)


def side(customer: int) -> list[str]:
    return [f"i{2 * place + customer % 2}" for place in range(PER_SIDE)]


def withheld(customer: int) -> str:
    return side(customer)[customer // 2 % PER_SIDE]


def taken(customer: int) -> list[str]:
    return [item for item in side(customer) if item != withheld(customer)]


def events() -> list[tuple[str, str, int]]:
    """Everybody takes four items on days 0 to 3, up to the cutoff; after it c0 buys a new item."""
    known = [(f"c{c}", item, day) for c in range(CUSTOMERS) for day, item in enumerate(taken(c))]
    return [*known, ("c0", LATE, 4)]


def write_world(io: StageIO, _config: PipelineConfig) -> dict[str, int]:
    items = {f"i{i}": i + 1 for i in range(2 * PER_SIDE + 1)}
    customers = {f"c{c}": c + 1 for c in range(CUSTOMERS + 1)}
    item_rows = [{"item_idx": index, "stock_code": code} for code, index in items.items()]
    customer_rows = [{"user_idx": index, "customer_id": code} for code, index in customers.items()]
    sold = interactions(io.spark, events()).withColumn("category", F.expr("cast(substr(stock_code, 2) % 2 as string)"))
    io.write(artifacts.INTERACTIONS_CLEAN, sold)
    io.write(artifacts.ITEM_ID_MAP, frame(io.spark, schemas.ITEM_ID_MAP, item_rows))
    io.write(artifacts.CUSTOMER_ID_MAP, frame(io.spark, schemas.CUSTOMER_ID_MAP, customer_rows))
    examples = [
        {
            "query_id": c,
            "user_idx": c + 1,
            "pos_item_idx": items[taken(c)[3]],
            "event_time": START + timedelta(days=3),
            "history": [0, *(items[item] for item in taken(c)[:3])],
            "hist_len": 3,
        }
        for c in range(CUSTOMERS)
    ]
    io.write(artifacts.SEQUENCES, frame(io.spark, schemas.SEQUENCES, examples), split="train")
    for split in ("val", "test"):
        io.write(artifacts.SEQUENCES, frame(io.spark, schemas.SEQUENCES, []), split=split)
    return {}


@pytest.fixture(scope="module")
def world(spark, tmp_path_factory):
    """Everything fitted up to day 3, and one query per customer on day 5."""
    storage = Storage(str(tmp_path_factory.mktemp("planted") / "run"), spark)
    kept = {"storage": storage}

    def fit(io: StageIO, _config: PipelineConfig) -> dict[str, int]:
        sold, items, customers = (io.read(artifact) for artifact in SOURCES[:3])
        kept["histories"] = customer_histories(sold, items, customers).localCheckpoint()
        io.write(artifacts.ITEM_DAYS, item_days(sold, items))
        kept["cutoff"] = cutoff = (START + timedelta(days=3)).isoformat()
        kept["facts"] = write_tables(Fit(io, "val", cutoff, kept["histories"], SETTINGS, seed=1), NAMES)
        kept["fitted"] = fitted_tables(io, "val", NAMES, SETTINGS)
        return {}

    written = (artifacts.ITEM_POPULARITY, *artifacts.MODEL_TABLES)
    run_stage(Stage("world", (), SOURCES, (), write_world), PipelineConfig(), storage)
    run_stage(Stage("baselines", SOURCES, written, (), fit), PipelineConfig(), storage)
    queries = storage.read_table(artifacts.CUSTOMER_ID_MAP.path, schemas.CUSTOMER_ID_MAP).select(
        "*", F.col("user_idx").alias("query_id"), F.lit(START + timedelta(days=5)).alias("event_time")
    )
    kept["asked"] = with_queries(kept["histories"], queries).localCheckpoint()
    return kept


@pytest.fixture(scope="module")
def lists(world):
    """Model -> (customer_id, protocol) -> row of RANKINGS."""
    found = {}
    for name in NAMES:
        model = build_model(name, world["fitted"], SETTINGS)
        ranked = rank(world["asked"].repartition(1), model, world["fitted"].codes, 20)
        found[name] = {(row.customer_id, row.protocol): row for row in ranked.collect()}
    return found


@pytest.fixture(scope="module")
def ranked(lists):
    """Model -> (customer_id, protocol) -> list."""
    return {name: {key: row.stock_codes for key, row in rows.items()} for name, rows in lists.items()}


def test_every_model_of_the_config_is_registered():
    assert set(ENTRIES) == {*NAMES, NEW_ITEMS}
    every = tables_of((*NAMES, NEW_ITEMS), SETTINGS)
    assert {artifact.name for artifact in every} == {a.name for a in artifacts.MODEL_TABLES}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_PERSONAL])
def test_the_withheld_item_is_found(name, ranked):
    for customer in range(CUSTOMERS):
        assert ranked[name][f"c{customer}", "first_purchase"][0] == withheld(customer)


@pytest.mark.parametrize("name", COUNTING)
def test_items_that_sell_alike_come_in_the_order_of_their_index(name, ranked):
    for customer in range(CUSTOMERS):
        never_bought = [f"i{i}" for i in range(2 * PER_SIDE) if f"i{i}" not in taken(customer)]
        assert ranked[name][f"c{customer}", "first_purchase"] == never_bought


def test_the_sentinel_goes_on_from_the_last_item_and_around_the_catalogue(ranked):
    last_items = {"c0": LATE, **{f"c{c}": taken(c)[-1] for c in range(1, CUSTOMERS)}}
    catalogue = sorted(f"i{i}" for i in range(2 * PER_SIDE))
    for customer in range(CUSTOMERS):
        last = last_items[f"c{customer}"]
        around = sorted(catalogue, key=lambda item, last=last: (item <= last, item))
        expected = [item for item in around if item not in taken(customer)]
        assert ranked[SENTINEL][f"c{customer}", "first_purchase"] == expected


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*NOT_PERSONAL, "category_popularity")])
def test_the_other_side_comes_last(name, ranked):
    for customer in range(CUSTOMERS):
        assert set(ranked[name][f"c{customer}", "all_items"][:PER_SIDE]) == set(side(customer))


@pytest.mark.parametrize("name", NAMES)
def test_only_items_sold_up_to_the_cutoff_are_ranked_and_each_once(name, ranked):
    for (customer, protocol), codes in ranked[name].items():
        expected = {f"i{i}" for i in range(2 * PER_SIDE)}
        if protocol == "first_purchase" and customer != COLD:
            expected -= set(taken(int(customer[1:])))
        assert sorted(codes) == sorted(expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("popularity", "rolling_popularity", SENTINEL)])
def test_a_cold_customer_gets_recent_popularity(name, ranked):
    assert ranked[name][COLD, "all_items"] == ranked["recent_popularity"][COLD, "all_items"]


# The blend's own scores have recent popularity in them.
@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*NOT_PERSONAL, "blend")])
def test_a_list_tells_how_many_items_the_model_has_scored(name, lists):
    assert {lists[name][COLD, protocol].num_scored for protocol in LIST_PROTOCOLS} == {0}
    for customer in range(CUSTOMERS):
        assert lists[name][f"c{customer}", "first_purchase"].num_scored >= 1  # the withheld item


@pytest.mark.parametrize("name", NAMES)
def test_lists_do_not_depend_on_partitions(name, world, ranked):
    model = build_model(name, world["fitted"], SETTINGS)
    for partitions in (7, 64):
        lists = rank(world["asked"].repartition(partitions), model, world["fitted"].codes, 20)
        assert {(row.customer_id, row.protocol): row.stock_codes for row in lists.collect()} == ranked[name]


@pytest.mark.parametrize("name", ["ease_weights", "nmf_factors", "tifu_vectors"])
def test_what_is_fitted_does_not_depend_on_partitions(name, world, spark, tmp_path):
    def table(artifact):
        return spark.read.parquet(world["fitted"].table(artifact).path).repartition(7)

    fits = {
        "ease_weights": lambda: fit_ease_weights(table(artifacts.KNN_SOURCE), SETTINGS.ease, str(tmp_path)),
        "nmf_factors": lambda: fit_nmf_factors(table(artifacts.USER_ITEM_MATRIX), SETTINGS.nmf, 1, str(tmp_path)),
        "tifu_vectors": lambda: fit_tifu_vectors(world["histories"].repartition(7), world["cutoff"], SETTINGS.tifu),
    }
    assert rows(fits[name]()) == rows(spark.read.parquet(world["fitted"].tables[name].path))


def test_the_share_that_the_cap_cut_is_told(world):
    assert world["facts"] == {"knn_share_cut": 0.0}


def test_neighbours_are_of_each_customers_newest_items_up_to_the_cap(world):
    """Everybody took four items, one a day: a cap of two leaves the last two."""
    settings, told = replace(SETTINGS, knn=replace(SETTINGS.knn, max_items_per_customer=2)), {}

    def fit(io: StageIO, _config: PipelineConfig) -> dict[str, int]:
        told["facts"] = write_tables(Fit(io, "full", world["cutoff"], world["histories"], settings, 1), ["item_knn"])
        return {}

    written = (artifacts.ITEM_POPULARITY, artifacts.KNN_SOURCE, artifacts.ITEM_NEIGHBOURS)
    run_stage(Stage("capped", SOURCES, written, (), fit), PipelineConfig(), world["storage"])
    assert told["facts"] == {"knn_share_cut": 0.5}
    last_two = [[int(item[1:]) + 1 for item in taken(c)[2:]] for c in range(CUSTOMERS)]
    expected = {pair for one, two in last_two for pair in ((one, two), (two, one))}
    found = world["storage"].read_table(artifacts.ITEM_NEIGHBOURS.path_of(fit="full"), model_schemas.ITEM_NEIGHBOURS)
    assert set(rows(found, "item_idx", "neighbour_idx")) == expected


def test_the_matrix_weighs_positives_one_and_history_a_half(world, spark):
    path = world["fitted"].table(artifacts.USER_ITEM_MATRIX).path
    found = {(row.user_idx, row.item_idx): row.weight for row in spark.read.parquet(path).collect()}
    first = [int(item[1:]) + 1 for item in taken(0)]
    assert [found[1, item] for item in first] == [0.5, 0.5, 0.5, 1.0]
    assert len(found) == CUSTOMERS * 4


@pytest.mark.parametrize("order", [1, -1])
def test_each_history_of_a_query_counts_in_the_matrix_whatever_their_order(spark, order):
    cut = [([1, 2], 3), ([2, 3], 4)]  # of one basket, in history_mode event, each with the newest two
    examples = [{"history": items, "pos_item_idx": positive} for items, positive in cut[::order]]
    told = {"query_id": 1, "user_idx": 1, "hist_len": 2, "event_time": START}
    sequences = frame(spark, schemas.SEQUENCES, examples, **told).coalesce(1)
    found = {row.item_idx: row.weight for row in user_item_matrix(sequences, START.isoformat()).collect()}
    assert found == {1: 0.5, 2: 0.5, 3: 1.0, 4: 1.0}


def test_the_source_holds_what_was_bought_up_to_the_cutoff(world, spark):
    path = world["fitted"].table(artifacts.KNN_SOURCE).path
    found = rows(spark.read.parquet(path).filter("user_idx = 1"), "item_idx", "num_events", "quantity", "last_time")
    assert found == [(int(item[1:]) + 1, 1, 1.0, START + timedelta(days=day)) for day, item in enumerate(taken(0))]
