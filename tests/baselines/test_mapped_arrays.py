from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from recsys_spark.arrays import Ints
from recsys_spark.baselines.mapped_arrays import SUFFIX, keeping_arrays, map_array, mapped
from recsys_spark.baselines.matrices import FittedTable, csr_of


@dataclass(frozen=True)
class Pair:
    keys: Ints
    none: Ints


def loader():
    """A loader that counts its calls."""
    calls = []

    @mapped(2)
    def load(table: FittedTable, factor: int) -> tuple[sparse.csr_matrix, Pair, Ints]:
        calls.append(factor)
        matrix = csr_of(np.array([0, 2, 2]), np.array([1, 0, 3]), np.array([1.0, 2.0, 3.0]) * factor)
        return matrix, Pair(np.arange(3), np.zeros(0, np.int64)), np.array([[1, 2], [3, 4]])

    return load, calls


def test_arrays_that_were_kept_are_mapped_and_equal_what_was_computed(tmp_path):
    table = FittedTable(str(tmp_path / "weights.parquet"), "c")
    load, calls = loader()
    with keeping_arrays():
        computed = load(table, 3)
    again, calls_again = loader()
    matrix, pair, plain = again(table, 3)
    assert (calls, calls_again) == ([3], [])
    assert (matrix != computed[0]).nnz == 0
    assert matrix.shape == (3, 4)
    assert matrix.has_sorted_indices
    assert not matrix.data.flags.writeable
    assert pair.keys.tolist() == [0, 1, 2]
    assert (pair.none.shape, pair.none.dtype) == ((0,), np.int64)
    assert plain.tolist() == [[1, 2], [3, 4]]


def test_other_arguments_are_not_taken_from_what_was_kept(tmp_path):
    table = FittedTable(str(tmp_path / "weights.parquet"), "c")
    load, _ = loader()
    with keeping_arrays():
        load(table, 3)
    again, calls_again = loader()
    assert again(table, 4)[0].data.tolist() == [4.0, 8.0, 12.0]
    assert calls_again == [4]


def test_nothing_is_written_unless_that_is_asked_for(tmp_path):
    load, _ = loader()
    load(FittedTable(str(tmp_path / "weights.parquet"), "c"), 3)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_was_cut_short_is_not_read(tmp_path):
    table = FittedTable(str(tmp_path / "weights.parquet"), "c")
    load, _ = loader()
    with keeping_arrays():
        load(table, 3)
    (shapes,) = Path(f"{table.path}{SUFFIX}").glob("*/shapes.json")
    shapes.unlink()
    again, calls_again = loader()
    again(table, 3)
    assert calls_again == [3]


def test_an_array_of_objects_is_refused(tmp_path):
    np.save(tmp_path / "odd.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle|dtype"):
        map_array(tmp_path / "odd.npy")
