"""Arrays that tasks leave for one another."""

from __future__ import annotations

import mmap
from uuid import uuid4

import fsspec
import numpy as np
import pytest

from recsys_spark.baselines.scratch_arrays import load_arrays, save_arrays

ARRAYS = {"inverse": np.arange(12.0).reshape(3, 4), "indices": np.array([3, 1], np.int32), "none": np.zeros(0)}


@pytest.fixture(params=["local", "object store"])
def folder(request, tmp_path) -> str:
    """Not there yet."""
    return str(tmp_path / "arrays") if request.param == "local" else f"memory://{uuid4().hex}/arrays"


def test_arrays_come_back_with_their_types(folder):
    save_arrays(folder, ARRAYS)
    found = load_arrays(folder, ARRAYS)
    assert list(found) == list(ARRAYS)
    for name, values in ARRAYS.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_nothing_but_the_arrays_is_left_in_the_folder_also_where_they_are_saved_twice(folder):
    for _ in range(2):
        save_arrays(folder, ARRAYS)
    fs, path = fsspec.core.url_to_fs(folder)
    assert sorted(found.rpartition("/")[2] for found in fs.find(path)) == sorted(f"{name}.npy" for name in ARRAYS)


def test_tasks_of_a_machine_share_the_pages_of_a_local_array(tmp_path):
    save_arrays(str(tmp_path), ARRAYS)
    found = load_arrays(str(tmp_path), ["inverse"])["inverse"]
    while isinstance(found, np.ndarray):
        found = found.base
    assert isinstance(found, mmap.mmap)


def test_an_array_that_is_still_mapped_stays_as_it_is_when_another_takes_its_place(tmp_path):
    save_arrays(str(tmp_path), {"values": np.arange(3.0)})
    held = load_arrays(str(tmp_path), ["values"])["values"]
    save_arrays(str(tmp_path), {"values": np.arange(5.0)})
    assert held.tolist() == [0.0, 1.0, 2.0]
