"""What a task that multiplies blocks takes of memory, held against knn.task_memory_mb."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import weakref
from pathlib import Path

import numpy as np

from recsys_spark.baselines.neighbour_tasks import NUM_PLACES, MultiplyPlan, groups_at
from recsys_spark.baselines.neighbours import NeighbourOptions, plan_of
from recsys_spark.baselines.sparse_blocks import load_block, pack_block

MEMORY_MB = 192


def test_a_task_with_several_blocks_keeps_to_its_memory(tmp_path: Path) -> None:
    options = NeighbourOptions(num_neighbours=20, min_support=2, task_memory_mb=MEMORY_MB)
    rng = np.random.default_rng(1)
    summaries = []
    for block in range(4):
        cells = np.unique(rng.integers(0, 60_000 * 2_500, options.paired_nonzeros))
        rows, cols = cells // 2_500 + 1, cells % 2_500 * 4 + block + 1
        summaries.append(pack_block(rows, cols, rng.random(len(cells)) + 0.01, f"{tmp_path}/packed", block))
    plan = plan_of(summaries, options, str(tmp_path), f"{tmp_path}/packed")
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process that held nothing before
        grown, num_columns = pool.apply(growth_of_a_task, (plan,))
    assert num_columns > 2_000  # a fourth of all, as the task has a fourth of the places
    assert grown <= MEMORY_MB * 2**20


def test_a_block_goes_as_soon_as_the_next_one_takes_its_place(tmp_path: Path) -> None:
    """The garbage collector would find it in the end, after a dozen others."""
    for block in (0, 1):
        pack_block(np.array([1, 2, 2]), np.array([1, 1, 2]), np.ones(3), str(tmp_path), block)
    gc.disable()
    try:
        used = weakref.ref(load_block(str(tmp_path), 0, 3))
        for tile in load_block(str(tmp_path), 0, 3).tiles:
            tile.by_row("int16")
            tile.slices("int16")
        load_block(str(tmp_path), 1, 3)
        assert used() is None
    finally:
        gc.enable()


def growth_of_a_task(plan: MultiplyPlan) -> tuple[int, int]:
    """By how many bytes the most memory that this process ever held grows, and the columns that its places have."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    num_columns = sum(len(set(group.neighbours()[0].tolist())) for group in groups_at(plan, 0, NUM_PLACES // 4))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, num_columns
