import random

from recsys_spark.contracts.schemas import ITEM_ID_MAP, POSITIVE_RANKS, RANKINGS, SEQUENCES
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.frames import conform
from tests.support.frames import frame, rows

ITEMS = [{"item_idx": idx, "stock_code": f"P{idx}"} for idx in range(1, 121)]


def _ranks(spark, lists, positives):
    """lists: (query, protocol, item indices); positives: (query, item, is_repeat)."""
    rankings = frame(
        spark,
        RANKINGS,
        [{"query_id": q, "protocol": p, "stock_codes": [f"P{idx}" for idx in ranked]} for q, p, ranked in lists],
    )
    sequences = frame(
        spark,
        SEQUENCES,
        [{"query_id": q, "pos_item_idx": item, "is_repeat": repeat} for q, item, repeat in positives],
        user_idx=7,
    )
    found = conform(positive_ranks(rankings, sequences, frame(spark, ITEM_ID_MAP, ITEMS)), POSITIVE_RANKS, "ranks")
    return rows(found, "query_id", "pos_item_idx", "protocol", "rank")


def _all_items(found):
    return [(query, item, rank) for query, item, protocol, rank in found if protocol == "all_items"]


def _masked(found):
    return {item: rank for _, item, protocol, rank in found if protocol == "masked_seen"}


def test_a_positive_has_its_place_in_the_list_of_each_protocol_that_counts_it(spark):
    lists = [(1, "all_items", [5, 3, 9]), (1, "first_purchase", [3, 9])]
    assert _ranks(spark, lists, [(1, 3, False), (1, 5, True)]) == [
        (1, 3, "all_items", 2),
        (1, 3, "first_purchase", 1),
        (1, 3, "masked_seen", 1),
        (1, 5, "all_items", 1),
        (1, 5, "masked_seen", 1),
    ]


def test_a_positive_that_no_list_holds_and_a_query_without_a_list_keep_their_rows(spark):
    lists = [(1, "all_items", [5])]
    found = _ranks(spark, lists, [(1, 6, True), (2, 5, True)])
    assert _all_items(found) == [(1, 6, None), (2, 5, None)]
    assert _masked(found) == {6: None, 5: None}


def test_places_beyond_one_hundred_are_no_rank(spark):
    lists = [(1, "all_items", list(range(1, 121)))]
    assert _all_items(_ranks(spark, lists, [(1, 100, True), (1, 101, True)])) == [(1, 100, 100), (1, 101, None)]


def test_an_item_listed_twice_counts_once_at_its_better_place(spark):
    assert _all_items(_ranks(spark, [(1, "all_items", [4, 5, 5])], [(1, 5, True)])) == [(1, 5, 2)]


def test_a_list_for_a_query_without_positives_adds_nothing(spark):
    assert _all_items(_ranks(spark, [(9, "all_items", [4])], [(1, 5, True)])) == [(1, 5, None)]


def test_masked_seen_counts_only_never_bought_items_in_front_of_a_repeat(spark):
    lists = [(1, "all_items", [1, 2, 30, 3, 31, 4]), (1, "first_purchase", [30, 31])]  # 1 to 4 were bought before
    found = _ranks(spark, lists, [(1, 2, True), (1, 4, True), (1, 31, False)])
    assert _masked(found) == {2: 1, 4: 3, 31: 2}


def test_masked_seen_takes_one_order_for_first_purchases_and_repeats(spark):
    lists = [(1, "all_items", [30, 31, 4]), (1, "first_purchase", [32, 31, 33]), (1, "masked_new", [30, 31, 32])]
    found = _ranks(spark, lists, [(1, 4, True), (1, 31, False), (1, 30, False)])
    assert _masked(found) == {4: 3, 31: 2, 30: 1}
    first = {item: rank for _, item, protocol, rank in found if protocol == "first_purchase"}
    assert first == {31: 2, 30: None}


def test_masked_seen_finds_repeats_beyond_one_hundred_in_the_longer_order(spark):
    bought, new = list(range(1, 111)), [111, 112]  # the model puts 110 repeats first
    lists = [(1, "all_items", bought[:100]), (1, "first_purchase", new)]
    assert _masked(_ranks(spark, lists, [(1, 110, True)])) == {110: None}
    assert _masked(_ranks(spark, [*lists, (1, "masked_seen", bought + new)], [(1, 110, True)])) == {110: 1}


def test_masked_seen_agrees_with_masking_one_positive_at_a_time(spark):
    chance = random.Random(8)
    lists, positives, expected = [], [], {}
    for query in range(1, 31):
        order, bought = chance.sample(range(1, 121), 120), set(chance.sample(range(1, 121), 60))
        new = [item for item in order if item not in bought]
        lists += [(query, "all_items", order[:100]), (query, "first_purchase", new), (query, "masked_seen", order)]
        for item in chance.sample(range(1, 121), 5):
            positives.append((query, item, item in bought))
            left = [other for other in order if other == item or other not in bought]
            expected[query, item] = left.index(item) + 1
    found = _ranks(spark, lists, positives)
    assert {(q, item): rank for q, item, protocol, rank in found if protocol == "masked_seen"} == expected


def test_empty_frames_give_an_empty_frame(spark):
    nothing = (frame(spark, table, []) for table in (RANKINGS, SEQUENCES, ITEM_ID_MAP))
    assert rows(positive_ranks(*nothing)) == []
