"""Every fact of a reason is recomputed from the purchases before the moment by a slow second method."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.query_batches import with_queries
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts import schemas
from recsys_spark.contracts.model_schemas import ITEM_NEIGHBOURS
from recsys_spark.contracts.recommend_config import ReasonsConfig
from recsys_spark.recommendations.evidence import EvidenceSource
from recsys_spark.recommendations.facts import Sales, pairs_of, recommendations
from recsys_spark.recommendations.lists import Lister, list_items, queries_at
from recsys_spark.recommendations.moment import before, moment_after
from recsys_spark.recommendations.policy import Policy
from recsys_spark.recommendations.reasons import KINDS, Teller
from recsys_spark.recommendations.rules import ItemRules
from recsys_spark.recommendations.together import co_purchases
from recsys_spark.sequences.histories import customer_histories
from tests.support.frames import frame
from tests.support.models import GivenScores
from tests.support.worlds import START, interactions

NUM_ITEMS, RECENT_DAYS = 14, 20
MOMENT = pd.Timestamp(START) + pd.Timedelta(days=60)
OPTIONS = ReasonsConfig(recent_items=3, min_customers=2, min_similarity=0.6)


def events() -> list[tuple[str, str, int]]:
    """16 customers over 80 days, 20 of them after the moment; item 14 sold long ago alone, 13 to one customer."""
    draw = random.Random(4)
    found = set()
    for customer in range(16):
        for _ in range(draw.randrange(3, 9)):
            day = draw.randrange(80)
            for item in draw.sample(range(1, 13), draw.randrange(1, 4)):
                found.add((f"c{customer}", f"i{item}", day))
    return sorted(found | {("c1", "i14", 2), ("c3", "i13", 59)})


def neighbours(spark, folder) -> FittedTable:
    """Each item of the first ten and the two after it; the nearer, the higher the score."""
    rows = [
        {"item_idx": item, "neighbour_idx": item + step, "score": 1.0 / step + item / 1000, "rank": step}
        for item in range(1, 9)
        for step in (1, 2)
    ]
    frame(spark, ITEM_NEIGHBOURS, rows).write.parquet(str(folder / "neighbours"))
    return FittedTable(str(folder / "neighbours"), "1")


def vectors(folder) -> FittedFile:
    drawn = np.random.default_rng(2).normal(size=(NUM_ITEMS + 1, 3)).astype(np.float32)
    np.save(folder / "vectors.npy", drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
    return FittedFile(str(folder / "vectors.npy"), "1")


def catalogue(spark):
    rows = [
        {
            "item_idx": item,
            "stock_code": f"i{item}",
            "description": None if item == 4 else f"كوب {item}",
            "category": None if item in (5, 6) else f"CATEGORY {item % 3}",
        }
        for item in range(1, NUM_ITEMS + 1)
    ]
    return frame(spark, schemas.ITEMS_CLEAN, rows)


@pytest.fixture(scope="module")
def told(spark, tmp_path_factory):
    """Recommendations of a model that ranks all items alike for everybody, by two kinds of evidence; then by the first
    once more, in other partitions.
    """
    folder = tmp_path_factory.mktemp("facts")
    purchases = interactions(spark, events())
    names = sorted({customer for customer, _, _ in events()})
    customers = frame(
        spark, schemas.CUSTOMER_ID_MAP, [{"user_idx": n, "customer_id": name} for n, name in enumerate(names, 1)]
    )
    items = catalogue(spark)
    moment = moment_after(purchases, MOMENT.isoformat())
    histories = customer_histories(purchases, items.select("item_idx", "stock_code"), customers)
    whole = with_queries(histories, queries_at(customers, purchases, moment)).localCheckpoint()
    table, file = neighbours(spark, folder), vectors(folder)
    found = []
    for number, (neighbours_too, partitions) in enumerate(((True, 1), (False, 1), (True, 5))):
        evidence = EvidenceSource(table if neighbours_too else None, file, OPTIONS.recent_items)
        asked = whole.repartition(partitions, "customer_id")
        model = GivenScores(tuple(range(1, NUM_ITEMS + 1)), tuple((0, item, 20.0 - item) for item in range(1, 12)))
        listed = list_items(asked, Lister(_ToAll(model), Policy(NUM_ITEMS), in_categories, evidence)).localCheckpoint()
        counted = co_purchases(asked, pairs_of(listed), str(folder / f"pairs{number}"))
        sales = Sales(before(purchases, moment), items, moment, RECENT_DAYS)
        kept = partial(written, folder=folder / f"kept{number}")
        rows = recommendations(listed, sales, counted, Teller("item_knn", OPTIONS, RECENT_DAYS), kept)
        found.append([row.asDict(recursive=True) for row in rows.orderBy("customer_id", "rank").collect()])
    return found


def in_categories() -> ItemRules:
    """No rule, and the categories of the catalogue by number."""
    rules = ItemRules.none(NUM_ITEMS)
    rules.category[1:] = [0 if item in (5, 6) else 100 + item % 3 for item in range(1, NUM_ITEMS + 1)]
    return rules


def written(name, made, folder):
    made.write.parquet(str(folder / name))
    return made.sparkSession.read.parquet(str(folder / name))


class _ToAll:
    """The same scores for every query of a batch."""

    def __init__(self, given: GivenScores) -> None:
        self.given, self.name = given, "item_knn"

    def popular(self):
        return self.given.popular()

    def score(self, batch):
        every = tuple((row, item, score) for row in range(len(batch)) for _, item, score in self.given.pairs)
        return GivenScores(self.given.popularity, every).score(batch)


def known() -> pd.DataFrame:
    rows = pd.DataFrame(events(), columns=["customer", "code", "day"])
    rows["time"] = pd.Timestamp(START) + pd.to_timedelta(rows["day"], unit="D")
    rows["category"] = [None if c in ("i5", "i6") else f"CATEGORY {int(c[1:]) % 3}" for c in rows["code"]]
    return rows[rows["time"] < MOMENT]


def days_since(times: pd.Series) -> int:
    return (MOMENT - times.max()).days


def expected(row: dict, rows: pd.DataFrame) -> dict:
    """The facts of a row's kind; of the product that it points to, only what follows from it."""
    of_item = rows[rows["code"] == row["stock_code"]]
    own = of_item[of_item["customer"] == row["customer_id"]].sort_values("time")
    facts = row["reason_facts"]
    if row["reason_kind"] == "repeat":
        gaps = own["time"].diff().dropna().dt.total_seconds() / 86_400
        return {
            "times_bought": len(own),
            "days_ago": days_since(own["time"]),
            "gap_days": pytest.approx(gaps.mean()) if len(gaps) else None,
        }
    if row["reason_kind"] in ("bought_together", "similar"):
        of_own = rows[rows["code"] == facts["own_stock_code"]]
        mine = of_own[of_own["customer"] == row["customer_id"]]
        found = {
            "own_stock_code": facts["own_stock_code"],
            "own_description": None if facts["own_stock_code"] == "i4" else f"كوب {facts['own_stock_code'][1:]}",
            "own_days_ago": days_since(mine["time"]),
        }
        if row["reason_kind"] == "similar":
            return found | {"similarity": facts["similarity"]}
        others = [frame[frame["customer"] != row["customer_id"]] for frame in (of_item, of_own)]
        customers = set(others[0]["customer"]) & set(others[1]["customer"])
        baskets = {*zip(others[0]["customer"], others[0]["time"], strict=True)}
        baskets &= {*zip(others[1]["customer"], others[1]["time"], strict=True)}
        return found | {"other_customers": len(customers), "other_baskets": len(baskets)}
    recent = of_item[of_item["time"] >= MOMENT - pd.Timedelta(days=RECENT_DAYS)]
    counted = recent if len(recent) else of_item
    found = {
        "num_events": len(counted),
        "num_customers": counted["customer"].nunique(),
        "recent_days": RECENT_DAYS if len(recent) else None,
    }
    if row["reason_kind"] == "popular":
        return found
    category = rows[rows["category"] == facts["category"]]
    lately = category[category["time"] >= MOMENT - pd.Timedelta(days=RECENT_DAYS)]["code"].value_counts()
    ever = category["code"].value_counts()
    order = sorted(lately.index, key=lambda code: (-lately[code], -ever[code], int(code[1:])))
    return found | {
        "category": of_item["category"].iloc[0],
        "category_times": int((category["customer"] == row["customer_id"]).sum()),
        "category_rank": order.index(row["stock_code"]) + 1,
    }


@pytest.mark.parametrize("evidence", [0, 1], ids=["neighbours and vectors", "vectors alone"])
def test_every_fact_is_what_the_purchases_before_the_moment_say(told, evidence):
    rows = known()
    for row in told[evidence]:
        facts = {name: value for name, value in row["reason_facts"].items() if value is not None}
        truth = {name: value for name, value in expected(row, rows).items() if value is not None}
        assert facts == truth, row
    assert len(told[evidence]) == rows["customer"].nunique() * NUM_ITEMS


def test_recommendations_do_not_depend_on_partitions(told):
    assert told[0] == told[2]


def test_every_kind_of_reason_occurs_in_that_world(told):
    assert {row["reason_kind"] for rows in told for row in rows} == set(KINDS)


def test_what_the_customer_bought_is_told_as_such_whatever_else_speaks_for_it(told):
    bought = {*zip(known()["customer"], known()["code"], strict=True)}
    for row in told[0]:
        assert (row["reason_kind"] == "repeat") == ((row["customer_id"], row["stock_code"]) in bought)


def newest(rows: pd.DataFrame, customer: str) -> list[str]:
    """The newest products of a customer; those of one order by code, the last first, as histories have them."""
    own = rows[rows["customer"] == customer].sort_values(["time", "code"])
    return list(dict.fromkeys(own["code"][::-1]))[: OPTIONS.recent_items]


def test_the_product_pointed_to_is_the_nearest_of_the_newest(told, tmp_path):
    rows = known()
    unit = vectors(tmp_path).array().astype(float)
    for row in told[1]:  # without neighbours, vectors tell both
        if row["reason_kind"] in ("bought_together", "similar"):
            own = newest(rows, row["customer_id"])
            item = int(row["stock_code"][1:])
            cosines = [round(float(unit[int(code[1:])] @ unit[item]), 6) for code in own]
            assert row["reason_facts"]["own_stock_code"] == own[int(np.argmax(cosines))]
            if row["reason_kind"] == "similar":
                assert row["reason_facts"]["similarity"] == pytest.approx(max(cosines), abs=1e-6)
    for row in told[0]:
        if row["reason_kind"] == "bought_together":
            item, own = int(row["stock_code"][1:]), int(row["reason_facts"]["own_stock_code"][1:])
            assert row["reason_facts"]["own_stock_code"] in newest(rows, row["customer_id"])
            assert 1 <= abs(item - own) <= 2
            assert row["reason_facts"]["other_customers"] >= OPTIONS.min_customers


def test_pairs_are_counted_alike_however_they_are_cut_into_parts(spark, tmp_path, monkeypatch):
    purchases = interactions(spark, [("a", "i1", 0), ("a", "i2", 0), ("a", "i2", 3), ("b", "i1", 1), ("b", "i2", 2)])
    items = catalogue(spark).select("item_idx", "stock_code")
    customers = frame(
        spark, schemas.CUSTOMER_ID_MAP, [{"user_idx": 1, "customer_id": "a"}, {"user_idx": 2, "customer_id": "b"}]
    )
    asked = with_queries(
        customer_histories(purchases, items, customers), queries_at(customers, purchases, moment_after(purchases, None))
    )
    pairs = spark.createDataFrame([(1, 2), (2, 1), (1, 3), (3, 99)], "item_idx bigint, other_idx bigint")
    for number, parts in enumerate((1, 3)):
        counted = co_purchases(asked.repartition(parts), pairs.repartition(parts), str(tmp_path / str(number)))
        assert sorted(map(tuple, counted.select("item_idx", "other_idx", "customers", "baskets").collect())) == [
            (1, 2, 2, 1),  # both customers, a single basket of a's
            (2, 1, 2, 1),
        ]


def test_recent_days_begin_with_their_first_moment_and_end_before_the_last(spark):
    """of_items counts a purchase at the beginning of the recent days and none at the moment.

    A line of nobody is a sale, and no customer.
    """
    moment = spark.range(1).select(F.lit("2011-01-21 09:00:00").cast("timestamp").alias("event_time"))
    purchases = interactions(spark, [("a", "i1", 0), ("b", "i1", 1), ("b", "i1", 20), (None, "i1", 3)])
    sales = Sales(before(purchases, moment), catalogue(spark), moment, recent_days=20)
    columns = ("num_events", "num_customers", "num_recent_events", "num_recent_customers", "category_rank")
    assert [tuple(row) for row in sales.of_items().select(*columns).collect()] == [(3, 2, 3, 2, 1)]
