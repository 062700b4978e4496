"""Features against a slow second method that filters events by their clocks, one pair at a time."""

import math
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as F

from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.query_context import recency_bucket
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts.features import EXTENSION, FEATURES, chosen_features
from recsys_spark.contracts.schemas import CUSTOMER_ID_MAP, ITEM_ID_MAP
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.features.customer_features import calendar, recency_flags
from recsys_spark.features.item_features import load_item_facts
from recsys_spark.features.place_features import fit_customer_places, fit_item_places
from recsys_spark.sequences.windows import MICROS_PER_DAY, Events
from tests.features.slow_features import HIST_MAX, NUM_CUSTOMERS, NUM_ITEMS, slow, slow_calendar, slow_recency
from tests.support.frames import frame, rows
from tests.support.worlds import START, interactions

LAST_DAY = 200
SOURCES = ("own", "ease")
COSINES = {"dot_uv", "max_sim_recent", "sim_mean", "sim_max", "sim_last_basket"}  # told by the slow method of theirs


def world(seed=1):
    """(customer, half day, item, quantity) events, each item at most once per customer and time, in time order.

    The first customer buys more than the 50 events that `share_new` looks back on, the last orders once. The last item
    comes late, so that some of these 50 are first purchases.
    """
    rng = np.random.default_rng(seed)
    drawn = {
        (int(customer), 100 if customer == NUM_CUSTOMERS - 1 else int(half), int(item))
        for customer, half, item in zip(
            rng.integers(0, NUM_CUSTOMERS, 400) * (rng.random(400) < 0.7),
            rng.integers(0, 2 * LAST_DAY, 400),
            rng.integers(1, NUM_ITEMS + 1, 400),
            strict=True,
        )
    }
    kept = [event for event in sorted(drawn) if event[2] < NUM_ITEMS or event[1] >= 200]
    return [(*event, int(rng.integers(1, 9))) for event in kept]


@pytest.fixture
def builder(tmp_path):
    return builder_of(tmp_path)


def builder_of(tmp_path, unknown=()):
    """unknown: items that the fit has not seen."""
    counts = {}
    for _, half, item, _ in world():
        counts[item, half // 2] = counts.get((item, half // 2), 0) + 1
    items, days = zip(*counts, strict=True)
    table = {"item_idx": items, "day": days, "num_events": list(counts.values())}
    pq.write_table(pa.table(table), tmp_path / "days.parquet")
    numbers = np.arange(1, NUM_ITEMS + 1)
    facts = {
        "item_idx": numbers,
        "num_events": numbers * 3,
        "num_customers": numbers + 1,
        "first_day": numbers % 5,
        "log_gap": np.where(numbers == 5, np.nan, np.log(numbers)),
        "price": np.where(numbers == 4, np.nan, numbers / 2),
        "brand": np.where(numbers % 3 == 0, 0, numbers % 3 * 1_000_003),
        "category": -(numbers % 2) * 77,
    }
    known = pc.invert(pc.is_in(pa.array(numbers), pa.array(unknown, pa.int64())))
    pq.write_table(pa.table(facts).filter(known), tmp_path / "facts.parquet")
    # Item n sold n times in showroom n % 2 and once in the other; odd customers are of showroom 1, the last of none.
    sold = [("showroom", 500 + place, item, item if item % 2 == place else 1) for item in numbers for place in (0, 1)]
    # In channel m of three item n sold n + m times, but in none that is n % 4; customer u is of channel u % 3.
    sold += [("sales_channel", 500 + m, n, n + m) for n in numbers for m in range(3) if m != n % 4]
    sold_columns = dict(
        zip(("kind", "place", "item_idx", "num_events"), map(list, zip(*sold, strict=True)), strict=True)
    )
    pq.write_table(pa.table(sold_columns), tmp_path / "item_places.parquet")
    usual = [("showroom", user, 500 + user % 2) for user in range(1, NUM_CUSTOMERS)]
    usual += [("sales_channel", user, 500 + user % 3) for user in range(1, NUM_CUSTOMERS)]
    usual_columns = dict(zip(("kind", "user_idx", "place"), map(list, zip(*usual, strict=True)), strict=True))
    pq.write_table(pa.table(usual_columns), tmp_path / "customer_places.parquet")
    names = ("facts", "days", "item_places", "customer_places")
    found = [FittedTable(str(tmp_path / f"{name}.parquet"), str(tmp_path)) for name in names]
    return FeatureBuilder(*found, None, SOURCES, "extended", hist_max=HIST_MAX, recent_items=3, similar_items=5)


def batch_of(events):
    """A query of each customer at noon of day 120; what comes later is in the events too."""
    offsets = np.searchsorted([customer for customer, *_ in events], np.arange(NUM_CUSTOMERS + 1))
    micros = np.array([half * MICROS_PER_DAY // 2 for _, half, _, _ in events], dtype=np.int64)
    columns = np.array([event[2] for event in events], dtype=np.int64), micros, np.array([float(e[3]) for e in events])
    now = np.full(NUM_CUSTOMERS, 120 * MICROS_PER_DAY + MICROS_PER_DAY // 2)
    own = [slice(*pair) for pair in pairwise(offsets.tolist())]
    end = np.array([part.start + np.searchsorted(micros[part], now[0]) for part in own])
    rows = np.arange(NUM_CUSTOMERS)
    return QueryBatch(rows, now, rows, offsets[:-1], end, Events(offsets, *columns), rows + 1)


def all_pairs():
    rows = np.repeat(np.arange(NUM_CUSTOMERS), NUM_ITEMS)
    items = np.tile(np.arange(1, NUM_ITEMS + 1), NUM_CUSTOMERS)
    ranks = np.stack([items % 3, np.zeros_like(items)], axis=1).astype(np.int32)
    return CandidateRows(rows, items, ranks, ranks.astype(np.float32) / 2)


def test_features_agree_with_a_slow_second_method(builder):
    events, candidates = world(), all_pairs()
    found = builder.columns(batch_of(events), candidates)
    for place, (customer, item) in enumerate(zip(candidates.rows.tolist(), candidates.items.tolist(), strict=True)):
        for name, value in slow(events, customer, item).items():
            assert found[name][place] == pytest.approx(value, rel=1e-5, abs=1e-6), (name, customer, item)


def test_the_slow_methods_tell_of_every_feature():
    told = set(slow(world(), 0, 1)) | {"price_gap"} | COSINES
    assert told == {feature.name for feature in FEATURES}


@pytest.mark.parametrize("unknown", [(), (7, NUM_ITEMS)])
def test_prices_and_labels_are_of_what_the_fit_knows(tmp_path, unknown):
    events, candidates = world(), all_pairs()
    found = builder_of(tmp_path, unknown).columns(batch_of(events), candidates)
    logs = {item: math.log(item / 2) for item in range(1, NUM_ITEMS + 1) if item != 4 and item not in unknown}
    logs[4] = sum(logs.values()) / len(logs)  # the one without a price
    for place, (customer, item) in enumerate(zip(candidates.rows.tolist(), candidates.items.tolist(), strict=True)):
        before = [code for who, half, code, _ in events if who == customer and half < 241 and code not in unknown]
        paid = sum(logs[code] for code in before) / len(before)
        brand = 0 if item in unknown else item % 3
        share = sum(code % 3 == brand for code in before) / len(before) if brand else 0
        assert found["price_gap"][place] == pytest.approx(0 if item in unknown else logs[item] - paid), (customer, item)
        assert found["brand_share"][place] == pytest.approx(share), (customer, item)
        if item in unknown:
            told = [found[name][place] for name in ("pop", "price_z", "item_age", "num_customers", "category_share")]
            assert told == [0, 0, 0, 0, 0]


def test_events_at_the_query_and_later_change_no_feature(builder):
    events, candidates = world(), all_pairs()
    kept = builder.columns(batch_of([event for event in events if event[1] < 241]), candidates)
    for name, values in builder.columns(batch_of(events), candidates).items():
        assert values.tolist() == kept[name].tolist(), name


def test_a_customer_without_events_has_the_missing_values_of_all_that_he_bought(builder):
    groups = ("repeat", "recent", "category", "affinity", "customer")
    found = builder.columns(batch_of([event for event in world() if event[0]]), all_pairs())
    nobody = builder.columns(batch_of([]), all_pairs())
    for feature in FEATURES:
        if feature.group in groups or feature.name == "item_overdue":
            told = np.unique(found[feature.name][:NUM_ITEMS])  # the first customer's
            assert told.tolist() == [feature.missing] == np.unique(nobody[feature.name]).tolist(), feature.name


def test_the_base_set_leaves_the_others_at_their_missing_values(builder):
    found = replace(builder, which="base").columns(batch_of(world()), all_pairs())
    assert set(found["days_since_last"]) == {1000.0}
    assert len(set(found["pop"])) == NUM_ITEMS


@pytest.mark.parametrize("size", [1, 2, 4])
def test_features_of_parts_of_a_batch_are_those_of_the_whole(builder, size):
    batch, candidates = batch_of(world()), all_pairs()
    whole = builder.columns(batch, candidates)
    for first in range(0, NUM_CUSTOMERS, size):
        is_of_part = (candidates.rows >= first) & (candidates.rows < first + size)
        held = (candidates.items, candidates.ranks, candidates.scores)
        of_part = CandidateRows(candidates.rows[is_of_part] - first, *(values[is_of_part] for values in held))
        part = batch.part(slice(first, first + size))
        assert set(part.events.items) == {item for who, _, item, _ in world() if first <= who < first + size}
        for name, values in builder.columns(part, of_part).items():
            assert values.tolist() == whole[name][is_of_part].tolist(), name


@given(st.dates(date(1960, 1, 1), date(2100, 12, 31)))
def test_the_calendar_agrees_with_pythons(day):
    found = calendar(np.array([(day - date(1970, 1, 1)).days]))
    for name, value in slow_calendar(day).items():
        assert found[name][0] == pytest.approx(value, abs=1e-9), name


@given(st.dates(date(1960, 1, 1), date(2100, 12, 31)))
def test_the_day_in_the_year_is_that_of_the_calendar_within_two_days(day):
    found = calendar(np.array([(day - date(1970, 1, 1)).days]))
    part = 2 * math.pi * (day - date(day.year, 1, 1)).days / 365.2425
    between = math.hypot(found["month_sin"][0] - math.sin(part), found["month_cos"][0] - math.cos(part))
    assert between < 2 * math.pi * 2 / 365


@pytest.mark.parametrize("days", [0.0, 0.5, 1.0, 1.01, 7.0, 14.0, 14.5, 28.0, 60.0, 90.0, 90.5, 4000.0])
def test_a_bound_of_recency_belongs_to_the_bucket_that_it_ends(days):
    found = recency_flags(recency_bucket(np.array([days])))
    assert {name: values[0] for name, values in found.items()} == slow_recency(max(days, 1e-9))


def test_a_query_without_an_order_before_it_is_in_no_bucket_of_recency():
    assert all(values.tolist() == [0.0] for values in recency_flags(np.array([-1])).values())


def test_the_full_set_leaves_quarters_and_buckets_of_recency_out(builder):
    found = replace(builder, which="full").columns(batch_of(world()), all_pairs())
    assert {found[feature.name].any() for feature in EXTENSION} == {False}
    names = [[feature.name for feature in chosen_features(which)] for which in ("full", "extended")]
    assert set(names[1]) - set(names[0]) == {feature.name for feature in EXTENSION}


def test_what_happened_is_never_longer_ago_than_what_never_did(builder):
    batch = batch_of(world())
    late = replace(batch, micros=batch.micros + 1400 * MICROS_PER_DAY, end=batch.events.offsets[1:])
    found = builder.columns(late, all_pairs())
    since = ("days_since_last", "days_since_first", "days_since_category")
    assert {name: np.unique(found[name]).tolist() for name in since} == {name: [1000.0] for name in since}
    assert found["days_since_order"].min() > 1300  # which is 0 where there is no order
    far = replace(all_pairs(), ranks=np.full_like(all_pairs().ranks, 1800))
    assert set(builder.columns(batch, far)["rank_own"]) == {1000.0}


def test_prices_are_the_same_to_the_last_bit_whatever_the_order_of_the_rows(builder, tmp_path):
    known = load_item_facts(builder.facts).price_z
    table = pq.read_table(builder.facts.path)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(table.num_rows)
        pq.write_table(table.take(order), tmp_path / f"{seed}.parquet")
        found = load_item_facts(FittedTable(str(tmp_path / f"{seed}.parquet"), str(tmp_path)))
        assert found.price_z.tobytes() == known.tobytes()


def test_a_source_that_lists_no_item_has_the_missing_rank(builder):
    found = builder.columns(batch_of(world()), all_pairs())
    assert found["rank_own"][:4].tolist() == [1, 2, 1000, 1]
    assert set(found["rank_ease"]) == {1000.0}
    assert found["num_sources"][:4].tolist() == [1, 1, 0, 1]


def test_places_are_those_of_the_events_up_to_the_cutoff(spark):
    lines = [("acme", "A", 0, "N"), ("acme", "A", 1, "S"), ("acme", "B", 2, "S"), ("bell", "A", 3, None)]
    later = [("acme", "A", day, "N") for day in range(10, 15)]
    events = interactions(spark, [line[:3] for line in lines + later])
    where = spark.createDataFrame(
        [(who, code, START + timedelta(days=day), place) for who, code, day, place in lines + later],
        "customer_id string, stock_code string, invoice_date timestamp, showroom string",
    )
    placed = events.drop("showroom").join(where, on=["customer_id", "stock_code", "invoice_date"], how="inner")
    items = frame(spark, ITEM_ID_MAP, [{"item_idx": n, "stock_code": c} for n, c in enumerate("AB", 1)])
    users = frame(
        spark, CUSTOMER_ID_MAP, [{"user_idx": 1, "customer_id": "acme"}, {"user_idx": 2, "customer_id": "bell"}]
    )
    end = (START + timedelta(days=5)).isoformat()
    found = rows(fit_item_places(placed, items, end), "kind", "item_idx", "num_events")
    assert found == [("showroom", 1, 1), ("showroom", 1, 1), ("showroom", 2, 1)]
    south = rows(spark.range(1).select(F.xxhash64(F.lit("S"))))[0][0]
    assert rows(fit_customer_places(placed, users, end)) == [("showroom", 1, south)]
