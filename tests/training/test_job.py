"""What a training is given travels as text."""

import pytest

from recsys_spark.contracts.retriever_config import TowerConfig

pytestmark = pytest.mark.torch


def test_a_job_comes_back_from_its_text():
    from training.retriever.train import RetrieverJob

    paths = {name: f"/run/{name}" for name in ("items_path", "sales_path", "users_path", "out_folder")}
    job = RetrieverJob(
        tower=TowerConfig(side_features=("brand", "price")),
        num_users=3,
        num_items=4,
        num_periods=2,
        hist_max=5,
        train_paths=("/run/a", "/run/b"),
        dev_paths=(),
        co_purchases_path=None,
        checkpoint_folder="/run/checkpoints",
        engine="arrow",
        seed=1,
        learning_rates=(0.1, 0.05),
        **paths,
    )
    assert RetrieverJob.from_json(job.to_json()) == job
