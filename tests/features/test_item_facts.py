"""What is known of items, worked by hand: no line after the cutoff tells anything of them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from pyspark.sql import functions as F

from recsys_spark.contracts.schemas import INTERACTIONS_CLEAN, ITEM_ID_MAP
from recsys_spark.features.item_features import fit_item_facts
from tests.support.frames import frame
from tests.support.worlds import START

FIRST_DAY = 14_975  # 2011-01-01 in days since 1970
CUTOFF = START + timedelta(days=5)
MICROSECOND = timedelta(microseconds=1)
NAMES = ("customer_id", "stock_code", "invoice_date", "price", "brand", "category")

KNOWN = [
    ("acme", "A", START, 2.0, "OLD", "CUPS"),
    ("acme", "A", START + timedelta(days=1), 4.0, "NEW", "CUPS"),
    ("bell", "A", START + timedelta(days=3), 9.0, None, "PLATES"),  # the latest brand is that of the line before
    ("acme", "B", START + timedelta(days=2), 5.0, None, None),
    ("bell", "B", CUTOFF, 6.0, None, "BOWLS"),  # at the very cutoff
    ("cole", "B", CUTOFF, 7.0, None, "JUGS"),  # of one time the largest
]
LATER = [
    ("zeta", "A", CUTOFF + MICROSECOND, 90.0, "LATER", "LATER"),
    ("zeta", "A", CUTOFF + timedelta(days=1), 90.0, "LATER", "LATER"),
    ("acme", "B", CUTOFF + timedelta(days=2), 90.0, "LATER", "LATER"),
    ("acme", "C", CUTOFF + MICROSECOND, 1.0, "LATER", "LATER"),  # not sold before it
]


def facts(spark, lines):
    """By item_idx: A is 1, B is 2, C is 3."""
    items = frame(spark, ITEM_ID_MAP, [{"item_idx": n, "stock_code": code} for n, code in enumerate("ABC", 1)])
    sold = frame(spark, INTERACTIONS_CLEAN, [dict(zip(NAMES, line, strict=True)) for line in lines])
    return {row["item_idx"]: row.asDict() for row in fit_item_facts(sold, items, CUTOFF.isoformat()).collect()}


@pytest.fixture(scope="module")
def hashes(spark):
    """The number of each label."""
    labels = spark.createDataFrame([("NEW",), ("PLATES",), ("JUGS",)], "label string")
    return dict(tuple(row) for row in labels.select("label", F.xxhash64("label")).collect())


@pytest.mark.parametrize("lines", [KNOWN, KNOWN[::-1], KNOWN + LATER, LATER[::-1] + KNOWN], ids=len)
def test_facts_are_those_of_the_lines_up_to_the_cutoff(spark, hashes, lines):
    assert (datetime(1970, 1, 1) + timedelta(days=FIRST_DAY)).date() == START.date()
    assert facts(spark, lines) == {
        1: {
            "item_idx": 1,
            "num_events": 3,
            "num_customers": 2,
            "first_day": FIRST_DAY,
            "log_gap": pytest.approx(math.log(2), abs=1e-6),  # acme's one day
            "price": 4.0,  # the middle one of 2, 4 and 9, whose mean is 5
            "brand": hashes["NEW"],
            "category": hashes["PLATES"],
        },
        2: {
            "item_idx": 2,
            "num_events": 3,
            "num_customers": 3,
            "first_day": FIRST_DAY + 2,
            "log_gap": None,  # nobody bought it twice
            "price": 6.0,
            "brand": 0,  # it has none up to the cutoff
            "category": hashes["JUGS"],
        },
    }


def test_the_gap_of_an_item_is_a_mean_over_customers_each_as_often_as_he_has_gaps(spark):
    bought = {
        "acme": (0, 1, 4),
        "bell": (0.5, 3),
        "cole": (2,),
        "dell": (1, 9),
    }  # days; dell's gap ends too late
    lines = [(who, "A", START + timedelta(days=day), 1.0, None, None) for who, days in bought.items() for day in days]
    (found,) = facts(spark, lines).values()
    assert found["log_gap"] == pytest.approx((2 * math.log(1 + 2) + math.log(1 + 2.5)) / 3, abs=1e-6)
