"""A world of two showrooms: what is fitted, against a slow second method, and what new customers are shown."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from recsys_spark.baselines.fallback import WithFallback
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.personal import PersonalFrequency
from recsys_spark.baselines.popularity import FittedPopularity, fit_popularity
from recsys_spark.baselines.query_batches import query_batches, with_queries
from recsys_spark.baselines.query_context import usual_place
from recsys_spark.baselines.ranking import rank_batch, rankings_of
from recsys_spark.baselines.segment_fit import fit_segment_popularity
from recsys_spark.baselines.segment_popularity import SegmentPopularity
from recsys_spark.contracts import schemas
from recsys_spark.contracts.model_config import SegmentsConfig
from recsys_spark.contracts.model_schemas import CATEGORY_POPULARITY
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.places import usual_places
from tests.support.frames import frame, rows
from tests.support.models import GivenScores
from tests.support.worlds import START

CODES = [f"i{number}" for number in range(1, 13)]
CUTOFF_DAY, RECENT_DAYS = 60, 28
OPTIONS = SegmentsConfig(min_customers=3, smoothing=1.0, items_per_segment=6)
CATEGORY = {code: "nuts" if number % 3 else "bolts" for number, code in enumerate(CODES, 1)}


def lines(seed: int = 4) -> list[tuple[str, str, int, str | None, str | None]]:
    """(customer, code, day, showroom, channel): those of N buy items 1 to 6, those of S 7 to 12, half on the web;
    two customers are of a showroom of their own. Some lines lie behind the cutoff.
    """
    rng, found = np.random.default_rng(seed), {}
    for customer in range(26):
        place = "N" if customer % 2 else "S"
        showroom = "tiny" if customer >= 24 else place
        own = CODES[:6] if place == "N" else CODES[6:]
        for day in sorted(rng.choice(80, 12, replace=False).tolist()):
            where = None if rng.random() < 0.1 else showroom if rng.random() < 0.8 else "N"
            channel = "web" if customer % 4 < 2 else None
            found[f"c{customer}", str(rng.choice(own)), day] = (where, channel)
    return [(*key, *value) for key, value in found.items()]


# The first order of new customers, after the cutoff.
NEW = [("new of N", "i12", 70, "N", None), ("new of S", "i1", 70, "S", None), ("new of none", "i1", 70, None, None)]


@pytest.fixture(scope="module")
def world(spark, tmp_path_factory):
    every = [*lines(), *NEW]
    values = {"quantity": 1, "line_amount": 2, "price": 2.0, "num_lines": 1, "was_winsorised": False}
    sold = frame(
        spark,
        schemas.INTERACTIONS_CLEAN,
        [
            {
                "customer_id": who,
                "stock_code": code,
                "invoice_date": START + timedelta(days=day),
                "showroom": showroom,
                "sales_channel": channel,
                "category": CATEGORY[code],
            }
            for who, code, day, showroom, channel in every
        ],
        **values,
    )
    names = sorted({who for who, *_ in every})
    items = frame(spark, schemas.ITEM_ID_MAP, [{"item_idx": n, "stock_code": c} for n, c in enumerate(CODES, 1)])
    users = frame(spark, schemas.CUSTOMER_ID_MAP, [{"user_idx": n, "customer_id": c} for n, c in enumerate(names, 1)])
    categories = frame(
        spark, CATEGORY_POPULARITY, [{"item_idx": n, "category": CATEGORY[c]} for n, c in enumerate(CODES, 1)]
    )
    found = {"sold": sold.localCheckpoint(), "items": items, "users": users, "categories": categories, "names": names}
    return {**found, "segments": fitted(found).localCheckpoint()}


def fitted(world, partitions: int = 2, days: int = 100):
    end = (START + timedelta(days=CUTOFF_DAY)).isoformat()
    sold = world["sold"].filter(world["sold"].invoice_date < START + timedelta(days=days)).repartition(partitions)
    return fit_segment_popularity(sold, world["items"], world["categories"], end, RECENT_DAYS, OPTIONS)


def slow_segments() -> set[tuple[str, int, float, float, int]]:
    """(kind, item, events, total, customers) of each segment."""
    known = [line for line in lines() if line[2] <= CUTOFF_DAY]
    newest = max(day for _, _, day, *_ in known)
    recent = [(who, CODES.index(code) + 1) for who, code, day, *_ in known if day > newest - RECENT_DAYS]
    members: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for customer in sorted({who for who, *_ in known}):
        own = [line for line in known if line[0] == customer]
        for kind, at in (("showroom", 3), ("sales_channel", 4)):
            counts = Counter(line[at] for line in own if line[at])
            assert len(set(counts.values())) == len(counts) or len(counts) < 2, "ties go by hashes"
            if counts:
                members[kind, counts.most_common(1)[0][0]][customer] = 1.0
        for name, count in Counter(CATEGORY[line[1]] for line in own).items():
            members["category", name][customer] = round(count / len(own), 6)
    found = set()
    for (kind, _), shares in members.items():
        sums: Counter[int] = Counter()
        for who, item in recent:
            sums[item] += shares.get(who, 0.0)
        best = sorted((-round(events, 6), item) for item, events in sums.items() if events)[: OPTIONS.items_per_segment]
        if len(shares) >= OPTIONS.min_customers:
            total = round(sum(sums.values()), 6)
            found |= {(kind, item, -events, total, len(shares)) for events, item in best}
    return found


def test_what_is_counted_agrees_with_a_slow_second_method(world):
    columns = ("kind", "item_idx", "num_events", "total", "num_customers")
    found = [(*row[:2], round(row[2], 5), round(row[3], 4), row[4]) for row in rows(world["segments"], *columns)]
    assert set(found) == {(*row[:2], round(row[2], 5), round(row[3], 4), row[4]) for row in slow_segments()}
    assert {row[0] for row in found} == {"showroom", "sales_channel", "category"}


def test_partitions_and_later_lines_change_nothing(world):
    assert rows(world["segments"]) == rows(fitted(world, partitions=5, days=CUTOFF_DAY + 1))


def test_a_line_of_a_history_keeps_its_place_and_orders_that_are_joined_keep_one(spark, world):
    tables = [world[name] for name in ("sold", "items", "users")]
    ids = rows(world["sold"].selectExpr("xxhash64('N') n", "xxhash64('web') w").limit(1))[0]
    found = customer_histories(*tables, with_places=True).filter("customer_id = 'c1'").collect()[0]
    own = sorted((day, code, where, channel) for who, code, day, where, channel in lines() if who == "c1")
    assert found.showrooms == [ids[0] if where == "N" else 0 for _, _, where, _ in own]
    assert found.channels == [ids[1] if channel == "web" else 0 for *_, channel in own]
    joined = customer_histories(*tables, merge_minutes=60 * 24 * 90, with_places=True).filter("customer_id = 'c1'")
    of_item = dict(zip(*joined.select("items", "showrooms").collect()[0], strict=True))
    for item, place in of_item.items():
        own_places = [ids[0] if where == "N" else 0 for _, code, where, _ in own if code == CODES[item - 1]]
        assert place == min(own_places)


@pytest.fixture(scope="module")
def asked(world):
    """The queries of all customers on day 75, as an Arrow batch."""
    histories = customer_histories(world["sold"], world["items"], world["users"], with_places=True)
    moment = START + timedelta(days=75)
    queries = world["users"].selectExpr("*", "user_idx as query_id", f"timestamp'{moment}' as event_time")
    found = with_queries(histories, queries).orderBy("user_idx").collect()
    (batch,) = pa.Table.from_pylist([row.asDict() for row in found]).to_batches()
    return batch


def test_the_usual_place_at_a_query_is_the_one_that_lines_before_it_say(world, asked):
    early = world["sold"].filter(world["sold"].invoice_date < START + timedelta(days=75))
    expected = {(kind, who): place for kind, who, place in rows(usual_places(early))}
    for batch in query_batches(asked):
        for kind in ("showroom", "sales_channel"):
            found = usual_place(batch, kind).tolist()
            assert found == [expected.get((kind, who), 0) for who in world["names"]]


@pytest.fixture(scope="module")
def models(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("segments")
    end = (START + timedelta(days=CUTOFF_DAY)).isoformat()

    def table(name, made):
        made.coalesce(1).write.parquet(str(folder / name))
        return FittedTable(str(folder / name), name)

    segments, categories = table("segments", world["segments"]), table("categories", world["categories"])
    counts = table("popularity", fit_popularity(world["sold"], world["items"], end, RECENT_DAYS))
    popularity = FittedPopularity(counts.path, counts.content)
    return SegmentPopularity(popularity, segments, categories, OPTIONS.smoothing), popularity


def ranked(model, arrow, k: int = 12) -> dict[tuple[str, str], list[int]]:
    codes = partial(pa.array, [None, *CODES])
    found = {}
    for batch in rankings_of([arrow], model, codes, k):
        for row in batch.to_pylist():
            found[row["customer_id"], row["protocol"]] = [CODES.index(code) + 1 for code in row["stock_codes"]]
    return found


def test_a_new_customer_is_shown_what_his_showroom_buys_whatever_he_bought_first(models, asked):
    found = ranked(models[0], asked)
    assert len(set(found["new of N", "all_items"][:6]) & set(range(1, 7))) >= 5
    assert len(set(found["new of S", "all_items"][:6]) & set(range(7, 13))) >= 5
    of_none = found["new of none", "all_items"]  # has a category alone, which is sold in both
    assert {item > 6 for item in of_none[:4]} == {True, False}


def test_behind_a_models_own_items_stand_those_of_the_segment_and_then_the_popular_ones(models, asked):
    segments, popularity = models
    own = PersonalFrequency(popularity, 60.0)
    found, plain = ranked(WithFallback(own, segments), asked), ranked(own, asked)
    by_segment = ranked(segments, asked)
    for key, listed in found.items():
        if key[1] == "all_items":
            bought = len(bought_before(asked)[key[0]])
            assert listed[:bought] == plain[key][:bought]
            assert listed[bought:] == [item for item in by_segment[key] if item not in listed[:bought]]
    assert found["new of N", "all_items"][:1] == [12]
    assert any(found[key] != plain[key] for key in found)


def bought_before(arrow: pa.RecordBatch) -> dict[str, set[int]]:
    """Items before the query that are eligible: all of them are sold up to the cutoff."""
    now = arrow.column("query_micros")[0].as_py()[0]
    return {
        row["customer_id"]: {item for item, micros in zip(row["items"], row["micros"], strict=True) if micros < now}
        for row in arrow.to_pylist()
    }


def test_a_fallback_keeps_scores_of_first_purchases_and_ranks_in_the_sources_apart(models, asked):
    (batch,) = query_batches(asked)
    given = GivenScores(tuple(range(1, 13)), ((0, 3, 5.0), (0, 4, 7.0)))
    found = WithFallback(given, models[0]).score(batch)
    of_first = [place for place in range(len(found.rows)) if found.rows[place] == 0]
    assert [(int(found.items[p]), float(found.scores[p])) for p in of_first[:2]] == [(3, 5.0), (4, 7.0)]
    assert all(found.scores[p] < 5.0 for p in of_first[2:])
    told = np.stack(list(found.source_ranks.values()), axis=1).max(axis=1)
    assert told[: len(given.pairs)].tolist() == [0, 0]
    assert (told[len(given.pairs) :] > 0).all()
    pairs = list(zip(found.rows.tolist(), found.items.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))


def test_a_model_that_fills_its_lists_asks_no_fallback(asked):
    (batch,) = query_batches(asked)
    every = tuple((row, item, float(item)) for row in range(len(batch)) for item in range(1, 13))
    many = GivenScores(tuple(range(1, 13)), every)
    lists = {found.protocol: found.items.tolist() for found in rank_batch(WithFallback(many, None), batch, 1)}
    assert lists["all_items"] == [12] * len(batch)
