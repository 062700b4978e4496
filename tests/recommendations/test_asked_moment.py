"""What `recommend` knows at the moment that is asked for: of later lines, and of orders that are joined."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest

from jobs import recommend
from recsys_spark.baselines.fitting import fitted_tables
from recsys_spark.baselines.matrices import FittedTable
from recsys_spark.baselines.popularity import fit_popularity
from recsys_spark.baselines.ranking import rank
from recsys_spark.baselines.registry import build_model
from recsys_spark.baselines.rolling import item_days
from recsys_spark.contracts import artifacts, schemas
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.load_config import load_config
from recsys_spark.features.item_features import load_daily_sales
from recsys_spark.sequences.split import END_OF_TIME
from recsys_spark.stage import Stage, StageIO, run_stage
from recsys_spark.storage import Storage
from tests.support.frames import frame, rows
from tests.support.worlds import START, interactions

CUTOFFS = {name: START.replace(hour=0).isoformat(timespec="microseconds") for name in ("fold_end", "train_end")}
WRITTEN = (
    artifacts.INTERACTIONS_CLEAN,
    artifacts.CUSTOMER_ID_MAP,
    artifacts.ITEM_ID_MAP,
    artifacts.SPLIT_CUTOFFS,
    artifacts.INGEST_REPORT,
    artifacts.ITEM_POPULARITY,
    artifacts.ITEM_DAYS,
)


@pytest.fixture
def world(spark, tmp_path):
    """A1 was bought on two days, A2 on one; the last day is 2 January 2011. Returns an io of `recommend` by config."""
    storage = Storage(str(tmp_path / "run"), spark)

    def write(io: StageIO, _config: PipelineConfig) -> dict[str, int]:
        lines = interactions(spark, [("acme", "A1", 0), ("acme", "A1", 1), ("bell", "A2", 1)])
        items = [{"item_idx": place, "stock_code": f"A{place}"} for place in (1, 2)]
        io.write(artifacts.INTERACTIONS_CLEAN, lines)
        io.write(artifacts.ITEM_ID_MAP, frame(spark, schemas.ITEM_ID_MAP, items))
        customers = [{"user_idx": place, "customer_id": name} for place, name in ((1, "acme"), (2, "bell"))]
        io.write(artifacts.CUSTOMER_ID_MAP, frame(spark, schemas.CUSTOMER_ID_MAP, customers))
        io.write_json(artifacts.SPLIT_CUTOFFS, {**CUTOFFS, "val_end": CUTOFFS["train_end"]})
        io.write_json(artifacts.INGEST_REPORT, {"forgotten": {}})
        ids = io.read(artifacts.ITEM_ID_MAP)
        io.write(artifacts.ITEM_DAYS, item_days(lines, ids))
        io.write(artifacts.ITEM_POPULARITY, fit_popularity(lines, ids, END_OF_TIME, 28), fit="full")
        return {}

    run_stage(Stage("world", (), WRITTEN, (), write), PipelineConfig(), storage)

    def asked(*pairs: str) -> SimpleNamespace:
        config = load_config(pairs=[f"paths.processed={tmp_path / 'run'}", *pairs])
        return SimpleNamespace(config=config, io=StageIO(recommend.STAGE, storage, config))

    return asked


def test_new_lines_count_among_the_daily_sales_of_features_and_of_the_rolling_list(world, tmp_path):
    """A2 sells five times in April, long after the run's own lines."""
    lines = [f"{day},A2,cup,1,2011-04-{day:02} 10:00,2.00,bell" for day in range(1, 6)]
    header = "invoice no,stock code,description,quantity,date,amount,customer"
    (tmp_path / "april.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    asked = world(f"recommend.new_lines=[{tmp_path / 'april.csv'}]", "recommend.as_of=2011-04-06")
    at = recommend.asked_moment(asked.io, asked.config)
    assert at.fit == "full"
    sales = load_daily_sales(FittedTable(*at.io.path_and_content(artifacts.ITEM_DAYS)))
    days = np.full(2, (datetime(2011, 4, 6) - datetime(1970, 1, 1)).days)
    assert sales.before(np.array([1, 2]), days, [28])[28].tolist() == [0, 5]
    settings = recommend.model_settings(asked.config).models
    fitted = fitted_tables(at.io, "full", ["rolling_popularity"], settings)
    found = rank(at.asked, build_model("rolling_popularity", fitted, settings), fitted.codes, 2)
    lists = found.filter("protocol = 'all_items'").select("customer_id", "stock_codes")
    assert rows(lists) == [("acme", ["A2", "A1"]), ("bell", ["A2", "A1"])]


def test_an_order_after_the_moment_is_not_known_where_it_is_joined_to_one_before(world, spark):
    """Orders at 09:00 and, within merge_minutes, at 09:00 the next day; asked between the two."""
    asked = world("sequences.merge_minutes=1440", "recommend.as_of=2011-01-01T21:00:00")
    at = recommend.asked_moment(asked.io, asked.config)
    assert at.fit == "val"
    history = at.asked.filter("customer_id = 'acme'").select("items", "quantities")
    assert rows(history) == [([1], [1.0])]
