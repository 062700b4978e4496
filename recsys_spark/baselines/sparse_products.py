"""A product of sparse matrices in one pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import _sparsetools


def one_pass_product(left: sparse.csr_matrix, right: sparse.csr_matrix, counts: npt.NDArray[Any]) -> sparse.csr_matrix:
    """left @ right; the columns of a row are in no order. counts: entries in each row of the right one.

    scipy's operator first walks through all multiply-adds to learn the size of the result: a third of its time. Here
    they bound the size; memory that is not written to is not taken.
    """
    shape, kind = (left.shape[0], right.shape[1]), np.result_type(left.dtype, right.dtype)
    bound = min(int(counts[left.indices].sum(dtype=np.float64)), math.prod(shape))
    if max(bound, left.nnz, right.nnz) > np.iinfo(np.int32).max:
        return left @ right
    data, indices, indptr = np.empty(bound, kind), np.empty(bound, np.int32), np.empty(shape[0] + 1, np.int32)
    factors = (
        array.astype(dtype, copy=False)
        for matrix in (left, right)
        for array, dtype in ((matrix.indptr, np.int32), (matrix.indices, np.int32), (matrix.data, kind))
    )
    _sparsetools.csr_matmat(*shape, *factors, indptr, indices, data)
    return sparse.csr_matrix((data[: indptr[-1]], indices[: indptr[-1]], indptr), shape=shape, copy=False)
