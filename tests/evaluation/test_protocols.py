from recsys_spark.contracts.schemas import ITEM_ID_MAP, POSITIVE_RANKS, RANKINGS, SEQUENCES
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.storage import conform
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


def test_a_positive_has_its_place_in_the_list_of_each_protocol_that_counts_it(spark):
    lists = [(1, "all_items", [5, 3, 9]), (1, "first_purchase", [3, 9])]
    assert _ranks(spark, lists, [(1, 3, False), (1, 5, True)]) == [
        (1, 3, "all_items", 2),
        (1, 3, "first_purchase", 1),
        (1, 5, "all_items", 1),
    ]


def test_a_positive_that_no_list_holds_and_a_query_without_a_list_keep_their_rows(spark):
    lists = [(1, "all_items", [5])]
    assert _ranks(spark, lists, [(1, 6, True), (2, 5, True)]) == [
        (1, 6, "all_items", None),
        (2, 5, "all_items", None),
    ]


def test_places_beyond_one_hundred_are_no_rank(spark):
    lists = [(1, "all_items", list(range(1, 121)))]
    assert _ranks(spark, lists, [(1, 100, True), (1, 101, True)]) == [
        (1, 100, "all_items", 100),
        (1, 101, "all_items", None),
    ]


def test_an_item_listed_twice_counts_once_at_its_better_place(spark):
    assert _ranks(spark, [(1, "all_items", [4, 5, 5])], [(1, 5, True)]) == [(1, 5, "all_items", 2)]


def test_a_list_for_a_query_without_positives_adds_nothing(spark):
    assert _ranks(spark, [(9, "all_items", [4])], [(1, 5, True)]) == [(1, 5, "all_items", None)]


def test_empty_frames_give_an_empty_frame(spark):
    nothing = (frame(spark, table, []) for table in (RANKINGS, SEQUENCES, ITEM_ID_MAP))
    assert rows(positive_ranks(*nothing)) == []
