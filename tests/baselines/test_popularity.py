import pytest

from recsys_spark.baselines.popularity import fit_popularity
from recsys_spark.sequences.split import END_OF_TIME
from tests.support.frames import rows
from tests.support.worlds import interactions

EVENTS = [("7", "A", 0), ("8", "A", 29), ("7", "A", 30), ("7", "B", 31), ("7", "C", 40)]


@pytest.mark.parametrize(
    ("cutoff", "expected"),
    [
        # Days count from 1 January; the 28 days before 31 January begin behind the 3rd
        ("2011-01-31T09:00:00", [(1, 3, 2)]),
        ("2011-02-01T09:00:00", [(1, 3, 2), (2, 1, 1)]),
        (END_OF_TIME, [(1, 3, 2), (2, 1, 1), (3, 1, 1)]),
    ],
)
def test_only_events_up_to_the_cutoff_count_and_the_recent_ones_end_there(spark, cutoff, expected):
    item_ids = spark.createDataFrame([(1, "A"), (2, "B"), (3, "C")], "item_idx bigint, stock_code string")
    fitted = fit_popularity(interactions(spark, EVENTS), item_ids, cutoff, recent_days=28)
    assert rows(fitted) == expected
