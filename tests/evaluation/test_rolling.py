import pytest

from recsys_spark.contracts.config import PathsConfig, PipelineConfig
from recsys_spark.evaluation.ranking_metrics import METRICS, SECTIONS
from recsys_spark.evaluation.rolling import fold_configs, seed_configs, spread

CUTOFFS = {"fold_end": "2011-03-01T00:00:00", "train_end": "2011-05-01T12:00:00", "val_end": "2011-05-11T12:00:00"}


def _folds(folds):
    return fold_configs(PipelineConfig(paths=PathsConfig(processed="root")), CUTOFFS, folds)


def test_cutoffs_move_back_by_the_length_of_val_and_tests_touch():
    first, second = _folds(3)
    assert first.split.val_end == "2011-05-01T12:00:00.000000"  # ten days earlier: where val began
    assert (first.split.fold_end, first.split.train_end) == ("2011-02-19T00:00:00.000000", "2011-04-21T12:00:00.000000")
    assert first.evaluation.test_end == "2011-05-11T12:00:00.000000"
    assert second.evaluation.test_end == first.split.val_end


def test_every_moved_run_has_a_root_of_its_own():
    assert [moved.paths.processed for moved in _folds(3)] == ["root/folds/1", "root/folds/2"]


def test_one_fold_is_the_run_itself():
    assert _folds(1) == []


def test_seeds_follow_that_of_the_run_and_have_roots_of_their_own():
    config = PipelineConfig(seed=5, paths=PathsConfig(processed="root/"))
    assert [(each.seed, each.paths.processed) for each in seed_configs(config, 3)] == [
        (6, "root/seeds/6"),
        (7, "root/seeds/7"),
    ]


def _evaluation(value):
    means = {section: {m.label: value for m in METRICS if m.section == section} for section in SECTIONS}
    models = {"models": {"popularity": means}}
    protocols = dict.fromkeys(("all_items", "first_purchase", "masked_seen"), models)
    return {"split": {"test": {"protocols": protocols}}}


def test_spread_worked_by_hand():
    found = spread([_evaluation(0.1), _evaluation(0.2), _evaluation(0.3)])
    recall = found["all_items"]["popularity"]["per_positive"]["recall@20"]
    assert recall == {"values": [0.1, 0.2, 0.3], "mean": pytest.approx(0.2), "sd": pytest.approx(0.1)}


def test_a_fold_without_positives_is_shown_and_not_averaged():
    recall = spread([_evaluation(0.1), _evaluation(None)])["all_items"]["popularity"]["per_positive"]["recall@20"]
    assert recall == {"values": [0.1, None], "mean": 0.1, "sd": None}
