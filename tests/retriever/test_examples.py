"""What the towers learn from, worked by hand."""

import math
from datetime import datetime, timedelta

import pytest

from recsys_spark.baselines.neighbours import NeighbourOptions
from recsys_spark.contracts import schemas
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.retriever_config import SIDE_FEATURES
from recsys_spark.retriever.co_purchases import co_purchases, numbered_baskets
from recsys_spark.retriever.examples import basket_examples, in_random_order, item_examples, user_histories
from recsys_spark.retriever.items import SIDE_LENGTH, tower_items
from recsys_spark.retriever.periods import Grid
from recsys_spark.sequences.histories import HISTORIES
from tests.support.frames import frame, rows

NOON = datetime(2011, 1, 10, 12)
DAY = 86_400_000_000
EPOCH = datetime(1970, 1, 1)
EVENTS = "user_idx bigint, invoice_date timestamp, item_idx bigint"


def micros(time):
    return int((time - EPOCH).total_seconds() * 1_000_000)


GRID = Grid(micros(NOON - timedelta(days=30)), 28 * DAY)


def _query(user, time, history, positives):
    """The number of the query is that of the customer."""
    pads = [0] * (4 - len(history))
    days = [0.0] * len(pads) + [float(n) for n in range(len(history), 0, -1)]
    return {
        "query_id": user,
        "user_idx": user,
        "event_time": time,
        "history": pads + history,
        "history_days": days,
        "positives": positives + [0] * (3 - len(positives)),
    }


def _lines_of(spark, queries, repeats):
    """SEQUENCES of the baskets of queries. repeats: (query, item) bought before."""
    lines = [(query, item) for query in queries for item in query["positives"] if item]
    held = ("query_id", "user_idx", "event_time", "history", "history_days")
    return frame(
        spark,
        schemas.SEQUENCES,
        [
            {
                **{name: query[name] for name in held},
                "pos_item_idx": item,
                "is_repeat": (query["query_id"], item) in repeats,
            }
            for query, item in lines
        ],
    )


def _baskets(spark, queries, repeats=()):
    """Their examples."""
    return basket_examples(frame(spark, schemas.QUERIES, queries), _lines_of(spark, queries, repeats), GRID)


def test_examples_know_what_is_bought_again(spark):
    found = _baskets(spark, [_query(1, NOON, [5, 6], [6, 7])], [(1, 6)])
    told = found.drop("history_days", "event_time", "context")
    assert rows(told) == [(1, [0, 0, 5, 6], [6, 7, 0], [True, False, False], 1)]
    assert rows(found, "context") == [([0, 0, 0, 0, 0],)]  # no tower asks


def test_what_was_bought_before_the_oldest_event_of_a_history_is_bought_again(spark):
    queries = [_query(1, NOON, [5, 6, 5, 6], [8, 7]), _query(2, NOON, [5], [8])]  # before these, customer 1 bought 8
    repeats = [(1, 8)]
    assert rows(_baskets(spark, queries, repeats), "positives", "is_repeat") == [
        ([8, 0, 0], [False, False, False]),
        ([8, 7, 0], [True, False, False]),
    ]
    alone = item_examples(_lines_of(spark, queries, repeats), GRID)
    assert rows(alone, "user_idx", "positives", "is_repeat") == [(1, [7], [False]), (1, [8], [True]), (2, [8], [False])]


def test_the_order_of_examples_does_not_depend_on_partitions(spark):
    lines = [_query(user, NOON - timedelta(minutes=user), [5], [user % 7 + 1]) for user in range(1, 60)]
    examples = _baskets(spark, lines)

    def order(partitions, seed=1):
        spread = in_random_order(examples.repartition(partitions), seed, num_files=1)
        return [row.user_idx for row in spread.collect()]

    assert order(1) == order(7)
    assert order(1) != order(1, seed=2)
    assert sorted(order(1)) == list(range(1, 60))


def test_histories_hold_the_newest_events_up_to_the_cutoff(spark):
    at = micros(NOON)
    times = [at - 3 * DAY, at - 2 * DAY, at, at + DAY]
    known = spark.createDataFrame(
        [(1, "A", [4, 5, 6, 7], times, [1.0] * 4), (2, "B", [8], [at + DAY], [1.0])], HISTORIES
    )
    nothing = [0, 0, 0, 0, 0]
    assert rows(user_histories(known, at, length=2)) == [(1, [5, 6], [2.0, 0.0], nothing)]
    assert rows(user_histories(known, at, length=5)) == [(1, [0, 0, 4, 5, 6], [0.0, 0.0, 3.0, 2.0, 0.0], nothing)]


def test_ppmi_is_that_of_baskets(spark, tmp_path):
    # Four baskets: items 1 and 2 together twice, 1 and 3 once, 3 alone once.
    baskets = {(1, 0): [1, 2], (1, 1): [1, 2], (2, 0): [1, 3], (2, 1): [3]}
    lines = [(user, NOON + timedelta(day), item) for (user, day), items in baskets.items() for item in items]
    events = spark.createDataFrame(lines, EVENTS)
    lift = math.log(2 * 4 / (3 * 2))  # n(1, 2) = 2, n(1) = 3, n(2) = 2; that of 1 and 3 is below 0
    found = rows(co_purchases(numbered_baskets(events), NeighbourOptions(num_neighbours=5), str(tmp_path)))
    assert {(i, j): ppmi for i, j, ppmi in found} == {
        (1, 2): pytest.approx(lift, abs=1e-5),
        (2, 1): pytest.approx(lift, abs=1e-5),
    }


def test_a_fit_counts_the_baskets_that_it_is_given_whatever_their_numbers(spark, tmp_path):
    baskets = {2: [1, 2], 5: [1, 2], 9: [1, 3], 70: [3, 4]}
    lines = [(row, NOON, item) for row, items in baskets.items() for item in items]
    given = spark.createDataFrame(lines, "row bigint, invoice_date timestamp, item_idx bigint")
    found = {(i, j): ppmi for i, j, ppmi in rows(co_purchases(given, NeighbourOptions(), str(tmp_path)))}
    assert found[1, 2] == found[2, 1] == pytest.approx(math.log(2 * 4 / (3 * 2)), abs=1e-5)
    assert found[3, 4] == found[4, 3] == pytest.approx(math.log(1 * 4 / (2 * 1)), abs=1e-5)


def test_a_basket_is_what_a_customer_bought_at_one_time_each_item_once(spark):
    later = NOON + timedelta(days=1)
    lines = [(1, NOON, 7), (1, NOON, 8), (1, NOON, 7), (1, later, 7), (2, NOON, 7)]
    found = rows(numbered_baskets(spark.createDataFrame(lines, EVENTS)))
    assert sorted({row for row, _, _ in found}) == [1, 2, 3]
    of_row = {number: sorted((time, item) for row, time, item in found if row == number) for number in (1, 2, 3)}
    assert sorted(of_row.values()) == [[(NOON, 7)], [(NOON, 7), (NOON, 8)], [(later, 7)]]


def test_co_purchases_that_cost_too_much_are_refused_with_advice_that_helps(spark, tmp_path):
    events = spark.createDataFrame([(1, NOON, 1), (1, NOON, 2)], EVENTS)
    with pytest.raises(
        ConfigError, match=r"knn\.max_cost = 1; start no tower .*start: random\) or raise knn\.max_cost$"
    ):
        co_purchases(numbered_baskets(events), NeighbourOptions(max_cost=1), str(tmp_path))


def test_items_tell_how_often_they_are_targets(spark):
    examples = _baskets(spark, [_query(1, NOON, [5, 6], [6, 7]), _query(2, NOON, [5], [6])], repeats=[(1, 6)])
    events = _events(spark, [(6, "RED CUP", "ACME"), (6, "RED CUP", "ACME"), (7, "CUP", None), (8, "TIN", "ACME")])
    found = tower_items(examples, events, ())
    assert rows(found, *found.columns[:4]) == [(6, 2, 2, 1), (7, 1, 1, 1), (8, 1, 0, 0)]  # the last: new targets
    assert found.columns[4:] == [f"side_{feature}" for feature in SIDE_FEATURES]
    assert rows(found, *found.columns[4:]) == [tuple([0] * SIDE_LENGTH for _ in SIDE_FEATURES)] * 3


def test_items_share_hashed_features_where_they_share_words_or_brand(spark):
    examples = _baskets(spark, [_query(1, NOON, [5], [6])])
    events = _events(spark, [(6, "RED CUP", "ACME"), (7, "CUP 12", None), (8, "TIN", "ACME")])
    found = tower_items(examples, events, ("brand", "description"))
    brand, words, price = (
        {item: {side for side in sides if side} for item, sides in rows(found, "item_idx", f"side_{feature}")}
        for feature in ("brand", "description", "price")
    )
    assert [len(brand[item]) for item in (6, 7, 8)] == [1, 0, 1]
    assert [len(words[item]) for item in (6, 7, 8)] == [2, 1, 1]  # a word of two letters is none
    assert price == {6: set(), 7: set(), 8: set()}  # not asked for
    assert len(words[6] & words[7]) == 1
    assert brand[6] == brand[8]
    assert not words[8] & words[6]


def _events(spark, lines):
    columns = "item_idx bigint, description string, brand string, category string, price double"
    return spark.createDataFrame([(*line, None, 2.0) for line in lines], columns)
