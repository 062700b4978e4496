import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.sentinel import NextInCatalogue
from recsys_spark.contracts.config import SENTINEL
from recsys_spark.contracts.model_config import NEW_ITEMS
from recsys_spark.evaluation.document import sentinel_warnings
from recsys_spark.sequences.windows import Events

CODES = pa.array([None, "D", "A", "C", "B", "E"])  # item_idx 1 is D, 2 is A, ...
BY_CODE = {code: idx for idx, code in enumerate(CODES.to_pylist()) if code}


def _load_codes():
    return CODES


def _model(tmp_path, eligible):
    path = str(tmp_path / "item_popularity.parquet")
    items = pa.array([BY_CODE[code] for code in eligible], pa.int64())
    ones = pa.array([1] * len(eligible), pa.int64())
    pq.write_table(pa.table({"item_idx": items, "num_events": ones, "num_recent_events": ones}), path)
    return NextInCatalogue(FittedPopularity(path, "".join(eligible)), _load_codes)


def _query(history):
    items = np.array([BY_CODE[code] for code in history], dtype=np.int64)
    events = Events(np.array([0, len(items)]), items, np.arange(len(items)))
    moment = np.array([len(items)])
    return QueryBatch(np.array([7]), moment, np.array([0]), np.array([0]), np.array([len(items)]), events)


def _listed(model, history):
    scored = model.score(_query(history))
    return [CODES[int(item)].as_py() for item in scored.items[np.argsort(-scored.scores, kind="stable")]]


def test_codes_follow_the_last_item_and_begin_again_behind_the_last_code(tmp_path):
    assert _listed(_model(tmp_path, "ABCDE"), ["A", "C"]) == ["D", "E", "A", "B", "C"]


def test_items_that_are_not_eligible_are_passed_over(tmp_path):
    assert _listed(_model(tmp_path, "ACE"), ["A", "D"]) == ["E", "A", "C"]


def test_without_a_history_it_has_no_opinion(tmp_path):
    assert _listed(_model(tmp_path, "ACE"), []) == []


def test_without_eligible_items_it_lists_nothing(tmp_path):
    assert _listed(_model(tmp_path, ""), ["A"]) == []


def _splits(eligible=1000, **recalls):
    means = {name: {"per_positive": {"recall@20": value}} for name, value in recalls.items()}
    protocols = {"all_items": {"models": means}, "first_purchase": {"models": {}}}
    return {"test": {"eligible_items": eligible, "protocols": protocols}}


@pytest.mark.parametrize(("sentinel", "warned"), [(0.049, []), (0.05, ["weak"]), (0.1, ["weak", "strong"])])
def test_a_warning_appears_when_the_sentinel_comes_within_half_of_a_model(sentinel, warned):
    lines = sentinel_warnings(_splits(weak=0.1, strong=0.2, **{SENTINEL: sentinel}))
    assert [model for model in ("weak", "strong") if any(f"{model} 0." in line for line in lines)] == warned
    assert len(lines) == bool(warned)


@pytest.mark.parametrize(("eligible", "warned"), [(400, False), (401, True)])
def test_what_chance_may_find_warns_of_nothing(eligible, warned):
    # 20 of 400 are 0.05, twice as much is 0.1.
    assert bool(sentinel_warnings(_splits(eligible, weak=0.1, **{SENTINEL: 0.1}))) is warned


@pytest.mark.parametrize(("eligible", "lines"), [(20, 1), (21, 0)])
def test_where_a_list_holds_every_item_one_line_says_so(eligible, lines):
    both = {split: _splits(eligible, weak=0.9, **{SENTINEL: 0.9})["test"] for split in ("val", "test")}
    found = sentinel_warnings(both)
    assert len(found) == lines
    assert all(line.startswith("val and test: at most 20 eligible items") for line in found)


def test_what_ranks_new_items_alone_is_not_suspected():
    assert sentinel_warnings(_splits(strong=0.2, **{NEW_ITEMS: 0.001, SENTINEL: 0.05})) == []


def test_a_sentinel_that_finds_nothing_warns_of_nothing():
    assert sentinel_warnings(_splits(weak=0.0, **{SENTINEL: 0.0})) == []
