from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_spark.contracts.schemas import CUSTOMER_ID_MAP, ITEM_ID_MAP
from recsys_spark.entities.customers import build_customers
from recsys_spark.entities.id_maps import dense_index
from recsys_spark.entities.items import build_items, known_texts
from tests.support.frames import column, frame, rows
from tests.support.worlds import interactions

EVENTS = [("7", "A", 0), ("7", "A", 1), ("7", "B", 1), ("8", "A", 3)]


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.text(alphabet="ab0م", max_size=3) | st.none(), max_size=40))
def test_indices_are_dense_from_1_and_unique(spark, ids):
    mapped = dense_index(spark.createDataFrame([(i,) for i in ids], "id string"), "id", "idx").collect()
    distinct = {i for i in ids if i is not None}
    assert sorted(row["idx"] for row in mapped) == list(range(1, len(distinct) + 1))
    assert {row["id"] for row in mapped} == distinct


def test_indices_do_not_depend_on_partitions(spark):
    ids = spark.range(500).selectExpr("cast(id as string) as id")
    assert rows(dense_index(ids.repartition(1), "id", "idx")) == rows(dense_index(ids.repartition(7), "id", "idx"))


def test_texts_of_a_moment_are_those_of_its_interactions_and_every_item_is_there(spark):
    ids = frame(spark, ITEM_ID_MAP, [{"item_idx": 1, "stock_code": "A"}, {"item_idx": 2, "stock_code": "B"}])
    before = interactions(spark, [("7", "A", 0)], description="OLD", brand="X", category="CUPS")
    later = interactions(spark, [("7", "A", 1), ("8", "A", 2), ("7", "B", 2)], description="NEW")
    told = ("item_idx", "stock_code", "description", "brand", "category")
    assert rows(known_texts(before, ids), *told) == [(1, "A", "OLD", "X", "CUPS"), (2, "B", None, None, None)]
    whole = before.unionByName(later)
    assert rows(known_texts(whole, ids), *told) == rows(build_items(whole, ids), *told)


def test_items_count_their_events_and_customers(spark):
    ids = frame(spark, ITEM_ID_MAP, [{"item_idx": 1, "stock_code": "A"}, {"item_idx": 2, "stock_code": "B"}])
    items = build_items(interactions(spark, EVENTS), ids)
    assert rows(items, "stock_code", "num_interactions", "num_customers") == [("A", 3, 2), ("B", 1, 1)]
    assert [float(total) for total in column(items.orderBy("stock_code"), "total_amount")] == [6.0, 2.0]


def test_the_commonest_description_wins_and_then_the_latest(spark):
    ids = frame(spark, ITEM_ID_MAP, [{"item_idx": 1, "stock_code": "A"}])
    named = [("LAMP", 0), ("LAMP", 1), ("damaged", 2)]
    tied = [("OLD", 0), ("NEW", 1)]
    for texts, expected in ((named, "LAMP"), (tied, "NEW")):
        frames = [interactions(spark, [("7", "A", day)], description=text) for text, day in texts]
        lines = frames[0]
        for more in frames[1:]:
            lines = lines.unionByName(more)
        assert column(build_items(lines, ids), "description") == [expected]


def test_a_blank_cell_has_no_vote_and_each_column_is_counted_on_its_own(spark):
    ids = frame(spark, ITEM_ID_MAP, [{"item_idx": 1, "stock_code": "A"}, {"item_idx": 2, "stock_code": "B"}])
    texts = [("X", None), ("X", None), ("Y", None), ("Y", "Lamps"), ("Z", "Lamps"), ("X", "Bells")]
    lines = interactions(spark, [("7", "B", 0)], description="BELL")
    for day, (brand, category) in enumerate(texts):
        lines = lines.unionByName(interactions(spark, [("7", "A", day)], brand=brand, category=category))
    found = rows(build_items(lines, ids), "stock_code", "brand", "category")
    assert found == [("A", "X", "Lamps"), ("B", None, None)]


def test_customers_count_their_orders_and_items(spark):
    ids = frame(spark, CUSTOMER_ID_MAP, [{"user_idx": 1, "customer_id": "7"}, {"user_idx": 2, "customer_id": "8"}])
    customers = build_customers(interactions(spark, EVENTS), ids)
    assert rows(customers, "customer_id", "num_orders", "num_items", "num_interactions") == [
        ("7", 2, 2, 3),
        ("8", 1, 1, 1),
    ]
