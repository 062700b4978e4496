from decimal import Decimal

from recsys_spark.cleaning.outliers import winsorise

LINES = (
    "n int, quantity decimal(18,4), price double, "
    "quantity_low double, quantity_high double, price_low double, price_high double"
)


def test_a_whole_quantity_is_never_moved_to_nothing(spark):
    # (quantity, price) -> the same after, and whether the row was moved
    worked = {
        ("3", 1.0): ("1", 1.0, True),
        ("1", 1.0): ("1", 1.0, False),  # beyond its bound, and as near to it as a whole quantity can be
        ("1", 9.0): ("1", 2.0, True),
        ("0.75", 1.0): ("0.558", 1.0, True),
        ("0.5", 1.0): ("0.5", 1.0, False),
    }
    lines = [
        (n, Decimal(quantity), price, -0.153, 0.558, 0.5, 2.0)  # bounds of a shop that sells fractions of a unit
        for n, (quantity, price) in enumerate(worked)
    ]
    moved = winsorise(spark.createDataFrame(lines, LINES)).orderBy("n").collect()
    found = [(row["quantity"], row["price"], row["was_winsorised"]) for row in moved]
    assert found == [(Decimal(quantity), price, was_moved) for quantity, price, was_moved in worked.values()]
