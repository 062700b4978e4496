"""The leak check on real stages, and what it says where something leaked."""

from datetime import datetime, timedelta

import pytest

from jobs import baselines, clean, entities, sequences
from recsys_spark.contracts import schemas
from recsys_spark.contracts.artifacts import (
    INTERACTIONS_CLEAN,
    ITEM_POPULARITY,
    ITEM_SALES,
    NMF_FACTORS,
    RANKINGS,
    RAW_LINES,
    USER_NEIGHBOURS,
)
from recsys_spark.contracts.candidate_config import CandidatesConfig, QuotasConfig
from recsys_spark.contracts.config import BaselinesConfig, PathsConfig, PipelineConfig
from recsys_spark.contracts.errors import GateError
from recsys_spark.contracts.model_config import NmfConfig
from recsys_spark.evaluation.leaks import PLANTED, check_leaks, compare, planted_lines
from recsys_spark.evaluation.runs import Run
from recsys_spark.stage import Stage, run_stage
from recsys_spark.storage import Storage
from tests.support.frames import frame, rows

STAGES = (clean.STAGE, entities.STAGE, sequences.STAGE, baselines.STAGE)
START = datetime(2011, 1, 3, 9)
MODELS = ("personal_frequency", "user_knn", "nmf")
ALS = NmfConfig(num_factors=2, max_iterations=2, max_cells=1)


def _lines():
    """Twelve customers order three of ten products each week, for ten weeks."""
    lines = []
    for week in range(10):
        for customer in range(12):
            for place in range(3):
                time = START + timedelta(weeks=week, hours=customer)
                lines.append(
                    {
                        "invoice_id": f"{week:02}{customer:02}",
                        "stock_code": f"P{(customer + place * week) % 10}",
                        "description": "CUP",
                        "customer_id": f"C{customer}",
                        "invoice_date": f"{time:%Y-%m-%d %H:%M:%S}",
                        "quantity": "2",
                        "line_amount": "3.00",
                        "source_row": len(lines) + 1,
                    }
                )
    return lines


FEW_SOURCES = CandidatesConfig(
    quotas=QuotasConfig(ease=0, item_knn=0, last_basket=0, category_popularity=0, rolling_popularity=0)
)


@pytest.fixture(scope="module")
def checked(spark, tmp_path_factory):
    """A finished run, its root, and what the leak check compared."""
    root = tmp_path_factory.mktemp("leaks") / "run"
    config = PipelineConfig(
        paths=PathsConfig(processed=str(root)),
        baselines=BaselinesConfig(models=MODELS),
        candidates=FEW_SOURCES,
        nmf=ALS,
    )
    raw = frame(spark, schemas.RAW_LINES, _lines(), source_file="lines.csv", source_sheet="")

    def ingest(io, _config):
        return {"lines": io.write(RAW_LINES, raw)}

    storage = Storage(str(root), spark)
    for stage in (Stage("ingest", reads=(), writes=(RAW_LINES,), sections=(), run=ingest), *STAGES):
        run_stage(stage, config, storage)
    # What later stages leave: it is not made of the planted lines, and must not be asked for.
    label, schema = ITEM_SALES.path_of(fit="val"), ITEM_SALES.schema
    storage.publish("later", label, storage.stage_table("later", label, frame(spark, schema, []), schema))
    return storage, check_leaks(STAGES, config, storage)


def test_later_lines_change_nothing_that_was_fitted_before(checked):
    labels = checked[1].equal
    assert INTERACTIONS_CLEAN.path in labels
    assert ITEM_POPULARITY.path_of(fit="val") in labels
    assert USER_NEIGHBOURS.path_of(fit="val") in labels  # whose neighbours are indices, which a planted customer shifts
    assert RANKINGS.path_of(model="personal_frequency", split="test") in labels


def test_what_als_fitted_is_named_as_not_checked(checked, spark):
    storage, compared = checked
    lists = {RANKINGS.path_of(model="nmf", split=split) for split in ("val", "test")}
    assert set(compared.unchecked) == lists | {NMF_FACTORS.path_of(fit=fit) for fit in ("fold", "train", "val")}
    assert not set(compared.unchecked) & set(compared.equal)
    planted = Run(Storage(f"{storage.root}/leak_check", spark))
    with pytest.raises(
        GateError, match="fit=val/nmf_factors.parquet differs"
    ):  # were it held to what scikit-learn does
        compare(Run(storage), planted, ("nmf",), NmfConfig())


def test_the_planted_customer_and_product_were_really_there(checked, spark):
    storage, _ = checked
    planted = Run(Storage(f"{storage.root}/leak_check", spark)).table(INTERACTIONS_CLEAN)
    late = planted.filter(f"stock_code = '{PLANTED}'")
    assert late.filter(f"customer_id = '{PLANTED}'").count() == 2
    assert late.count() == 2 * (12 + 1)


def test_planted_lines_come_after_all_others(spark):
    raw = frame(spark, schemas.RAW_LINES, [])
    known = frame(spark, schemas.INTERACTIONS_CLEAN, [{"customer_id": "C1", "invoice_date": START}])
    dates = {date for (date,) in rows(planted_lines(raw, known), "invoice_date")}
    assert dates == {"2011-01-04 09:00:00", "2011-01-05 09:00:00"}


class _Altered(Run):
    """A run one of whose tables is not what it was."""

    def __init__(self, run, label, alter):
        super().__init__(run.storage)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "alter", alter)

    def table(self, artifact, **keys):
        found = super().table(artifact, **keys)
        return self.alter(found) if artifact.path_of(**keys) == self.label else found


def test_a_fitted_table_that_knows_the_future_is_named(checked):
    run = Run(checked[0])
    label = ITEM_POPULARITY.path_of(fit="train")
    leaky = _Altered(
        run, label, lambda table: table.selectExpr("item_idx", "num_events + 1 as num_events", "num_recent_events")
    )
    with pytest.raises(GateError, match="fit=train/item_popularity.parquet differs"):
        compare(run, leaky, MODELS, ALS)


def test_a_model_that_lists_the_planted_product_is_named(checked):
    run = Run(checked[0])
    label = RANKINGS.path_of(model="user_knn", split="test")
    rewarded = _Altered(
        run,
        label,
        lambda lists: lists.selectExpr(
            "query_id", "customer_id", "event_time", "protocol", f"array('{PLANTED}') as stock_codes"
        ),
    )
    with pytest.raises(GateError, match="rankings_user_knn_test.parquet lists a product that no fit can know"):
        compare(run, rewarded, MODELS, ALS)
