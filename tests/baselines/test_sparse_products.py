"""Sparse products against those of dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recsys_spark.baselines.sparse_products import one_pass_product

SHAPES = [(30, 40), (40, 25)]


@pytest.mark.parametrize("dtypes", [(np.float64, np.float64), (np.float32, np.float64), (np.float32, np.float32)])
def test_the_product_in_one_pass_is_that_of_dense_matrices(dtypes):
    rng = np.random.default_rng(5)
    dense = [
        (rng.random(shape) * (rng.random(shape) < 0.2)).astype(kind) for shape, kind in zip(SHAPES, dtypes, strict=True)
    ]
    dense[0][::3] = 0.0
    left, right = (sparse.csr_matrix(matrix) for matrix in dense)
    found = one_pass_product(left, right, np.diff(right.indptr))
    assert found.dtype == np.result_type(*dtypes)
    assert found.shape == (30, 25)
    assert np.allclose(found.toarray(), dense[0] @ dense[1])
    nothing = one_pass_product(left[:0], right, np.diff(right.indptr))
    assert nothing.shape == (0, 25)
