"""Factors by ALS, which takes over where the matrix has more cells than max_cells."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_spark.baselines.nmf import fit_nmf_factors, is_left_to_als
from recsys_spark.contracts.model_config import NmfConfig
from recsys_spark.contracts.model_schemas import NMF_FACTORS, USER_ITEM_MATRIX
from tests.support.frames import frame

# Any matrix is too large for it, and its iterations are more than a lineage left uncut survives: it ends the JVM.
LARGE = NmfConfig(num_factors=2, max_cells=1, max_iterations=15)
GROUPS = {  # customers -> items: each takes all items of his group and none of the other
    tuple(range(1, 9)): (11, 12, 14, 19),
    tuple(range(20, 26)): (3, 5, 40),
}


@pytest.fixture(scope="module")
def matrix(spark):
    cells = [
        {"user_idx": user, "item_idx": item, "weight": 1.0}
        for users, items in GROUPS.items()
        for user in users
        for item in items
    ]
    return frame(spark, USER_ITEM_MATRIX, cells).localCheckpoint()


def test_customers_by_items_beyond_the_bound_are_left_to_als(matrix):
    assert not is_left_to_als(matrix, NmfConfig(max_cells=14 * 7))
    assert is_left_to_als(matrix, NmfConfig(max_cells=14 * 7 - 1))


def test_als_finds_the_groups_of_items_that_the_same_customers_take(matrix, tmp_path):
    fitted = fit_nmf_factors(matrix, LARGE, seed=1, folder=str(tmp_path))
    assert fitted.dtypes == [(column.name, column.type) for column in NMF_FACTORS.columns]
    found = {row["item_idx"]: np.array(row["factors"]) for row in fitted.collect()}
    assert sorted(found) == sorted(item for items in GROUPS.values() for item in items)
    assert {factors.shape for factors in found.values()} == {(2,)}
    assert min(factors.min() for factors in found.values()) >= 0
    strongest = [{int(found[item].argmax()) for item in items} for items in GROUPS.values()]
    assert sorted(strongest, key=min) == [{0}, {1}]
    assert list(tmp_path.rglob("part-*")) != []  # what ALS goes on from


def test_als_leaves_the_checkpoint_folder_of_the_session_as_it_was(matrix, spark, tmp_path):
    before = spark.sparkContext.getCheckpointDir()
    fit_nmf_factors(matrix, LARGE, seed=1, folder=str(tmp_path))
    assert spark.sparkContext.getCheckpointDir() == before


def test_as_far_as_the_bound_the_other_way_finds_the_same_groups(matrix, tmp_path):
    fitted = fit_nmf_factors(matrix, NmfConfig(num_factors=2, max_cells=14 * 7), seed=1, folder=str(tmp_path))
    found = {row["item_idx"]: np.array(row["factors"]) for row in fitted.collect()}
    strongest = [{int(found[item].argmax()) for item in items} for items in GROUPS.values()]
    assert sorted(strongest, key=min) == [{0}, {1}]
