from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from tests.training.published import (
    COLUMNS,
    ENGINES,
    EVEN,
    WIDTH,
    Files,
    by_rank,
    flat,
    publish,
    read,
    reader,
    rows_of,
)
from training.row_groups import RowGroup, Share, plan_epoch

pytestmark = pytest.mark.torch

# What Spark leaves: full row groups, and the short remainder of each task. By turns to two ranks, one got them all.
REMAINDERS: Files = [[20, 3], [20, 1], [20, 3]]
LAYOUTS: list[Files] = [[[10]], [[5], [6]], EVEN, REMAINDERS, [[1, 1], [4, 1, 1]], [[30, 0, 1], [1], [0], [2]]]

CASES = [
    pytest.param(files, ranks, id=f"{'+'.join(map(str, files))}-{ranks}")
    for files in LAYOUTS
    for ranks in (1, 2, 3, 4)
    if sum(flat(files)) >= 2 * ranks  # a full batch for each
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("files", "ranks"), CASES)
def test_training_gives_all_ranks_as_many_full_batches_of_rows_that_come_once(tmp_path, files, ranks, engine):
    path, total = publish(tmp_path / "t.parquet", files), sum(flat(files))
    found = by_rank(path, ranks, batch_size=2, engine=engine, shuffle_rows_buffer=5)
    full = total // (2 * ranks)  # the most there can be
    assert [len(batches) for batches in found] == [full] * ranks
    assert reader(path, batch_size=2, world_size=ranks).batches_per_epoch == full
    assert {len(batch) for batch in flat(found)} == {2}
    seen = flat(flat(found))
    assert len(set(seen)) == len(seen) == full * 2 * ranks
    assert set(seen) <= set(range(total))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("files", "ranks"), CASES)
def test_evaluation_gives_every_row_once_in_order_and_all_ranks_as_many_batches(tmp_path, files, ranks, engine):
    path, total = publish(tmp_path / "t.parquet", files), sum(flat(files))
    found = by_rank(path, ranks, engine=engine, shuffle=False, shuffle_rows_buffer=5)
    assert flat(flat(found)) == list(range(total))
    most = max(len(flat(batches)) for batches in found)
    assert {len(batches) for batches in found} == {-(-most // 4)}
    assert most - min(len(flat(batches)) for batches in found) <= 1


def test_a_rank_with_one_row_less_ends_with_an_empty_batch(tmp_path):
    path = publish(tmp_path / "t.parquet", [[2], [1]])
    given = {"columns": ("row", "history"), "batch_size": 1, "shuffle": False, "world_size": 2}
    first, second = (list(reader(path, rank=rank, **given).epoch(0)) for rank in range(2))
    assert [batch["row"].tolist() for batch in first] == [[0], []]
    assert [batch["row"].tolist() for batch in second] == [[1], [2]]
    assert first[1]["history"].shape == (0, WIDTH)
    assert rows_of(reader(path, rank=0, **given).epoch(0, skip=1)) == [[]]


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_keep_their_types_and_their_row(tmp_path, engine):
    path = publish(tmp_path / "a root, مخزن" / "t.parquet", REMAINDERS)
    for batch in reader(path, engine=engine, columns=COLUMNS, shuffle_rows_buffer=9).epoch(0):
        row = batch["row"]
        assert {name: values.dtype for name, values in batch.items()} == {
            "row": torch.int64, "history": torch.int64, "days": torch.float32, "is_repeat": torch.bool,
            "time": torch.int64, "flag": torch.bool,
        }  # fmt: skip
        assert batch["history"].tolist() == [[number * 10 + place for place in range(WIDTH)] for number in row]
        assert batch["days"].tolist() == [[number / 2 + place for place in range(WIDTH)] for number in row.tolist()]
        assert batch["is_repeat"].tolist() == [[number % 2 == place % 2 for place in range(WIDTH)] for number in row]
        assert batch["time"].tolist() == [1_600_000_000_000_000 + number for number in row.tolist()]
        assert batch["flag"].tolist() == [number % 3 == 0 for number in row.tolist()]


@pytest.mark.parametrize("engine", ENGINES)
def test_spark_s_96_bit_timestamps_are_microseconds_too(tmp_path, engine):
    path = publish(tmp_path / "t.parquet", [[2]], use_deprecated_int96_timestamps=True)
    (batch,) = reader(path, engine=engine, columns=("time",), shuffle=False).epoch(0)
    assert batch["time"].tolist() == [1_600_000_000_000_000, 1_600_000_000_000_001]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_order_follows_from_seed_epoch_and_rank_alone(tmp_path, engine):
    path = publish(tmp_path / "t.parquet", REMAINDERS)
    given = {"shuffle_rows_buffer": 16, "rank": 1, "world_size": 2}
    order = read(path, epoch=3, engine=engine, **given)
    assert order == read(path, epoch=3, engine=engine, workers=5, **given)
    assert order == read(path, epoch=3, engine="arrow", **given)
    assert order != read(path, epoch=3, engine=engine, **given | {"seed": 2})
    assert order != read(path, epoch=4, engine=engine, **given)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_resumed_epoch_is_the_tail_of_the_whole_one(tmp_path, engine, shuffle):
    path = publish(tmp_path / "t.parquet", REMAINDERS)
    given = {"engine": engine, "shuffle": shuffle, "shuffle_rows_buffer": 11, "rank": 1, "world_size": 2}
    whole = read(path, epoch=2, **given)
    assert len(whole) == (8 if shuffle else 9)  # of 67 rows, in batches of 4 on 2 ranks
    assert [read(path, epoch=2, skip=skip, **given) for skip in range(len(whole) + 1)] == [
        whole[skip:] for skip in range(len(whole) + 1)
    ]


def test_a_resumed_epoch_does_not_read_what_lies_before(tmp_path, monkeypatch):
    path = publish(tmp_path / "t.parquet", [[4]] * 10)
    opened: list[str] = []
    found = reader(path, shuffle_rows_buffer=4)
    read_group = found._engine.read
    monkeypatch.setattr(found._engine, "read", lambda group: opened.append(group.file) or read_group(group))
    assert len(rows_of(found.epoch(0, skip=7))) == len(opened) == 3


def test_the_first_batch_of_a_small_data_set_does_not_wait_for_the_rest(tmp_path, monkeypatch):
    path = publish(tmp_path / "t.parquet", [[4]] * 32)
    opened: list[str] = []
    found = reader(path)
    read_group = found._engine.read
    monkeypatch.setattr(found._engine, "read", lambda group: opened.append(group.file) or read_group(group))
    batches = found.epoch(0)
    next(batches)
    assert len(opened) <= 8  # a window of four row groups, and the one after it
    assert len(rows_of(batches)) == 31
    assert len(opened) == 32


def test_rows_of_two_row_groups_meet_also_in_a_small_data_set(tmp_path):
    mixed = read(publish(tmp_path / "t.parquet", [[8]] * 6), batch_size=8)
    assert all(len({row // 8 for row in batch}) == 2 for batch in mixed)
    assert len({row // 8 for batch in mixed[:2] for row in batch}) == 2  # these two, and no others


def test_row_groups_that_come_in_parts_give_the_same_batches(tmp_path, monkeypatch):
    path = publish(tmp_path / "t.parquet", REMAINDERS)
    given = {"columns": ("row", "history"), "shuffle_rows_buffer": 16, "rank": 1, "world_size": 2}
    whole = [batch["row"].tolist() for batch in reader(path, **given).epoch(0)]
    monkeypatch.setattr("training.engines._PART_ROWS", 3)
    parted = list(reader(path, **given).epoch(0))
    assert [batch["row"].tolist() for batch in parted] == whole
    assert all((batch["history"][:, 0] == batch["row"] * 10).all() for batch in parted)
    assert flat(flat(by_rank(path, 2, shuffle=False))) == list(range(67))  # the second rank begins within a row group


def test_the_rows_left_out_are_others_in_each_epoch_and_for_each_seed(tmp_path):
    path = publish(tmp_path / "t.parquet", [[4], [3, 3]])
    left_out = [frozenset(range(10)) - set(flat(read(path, epoch))) for epoch in range(40)]
    assert {len(rows) for rows in left_out} == {2}
    assert frozenset().union(*left_out) == set(range(10))
    assert frozenset(range(10)) - set(flat(read(path, 0, seed=2))) != left_out[0]


def test_each_row_is_as_likely_left_out_as_any_other():
    groups, share = [RowGroup("a", 0, 1, 5), RowGroup("b", 0, 1, 1), RowGroup("c", 0, 1, 4)], Share(10, 4, 1, True)
    first_row = {"a": 0, "b": 5, "c": 6}
    read_times = np.zeros(10)
    for epoch in range(4000):
        for span in plan_epoch(groups, share, 0, 1, epoch):
            read_times[first_row[span.group.file] :][span.first : span.last] += 1
    assert read_times / 4000 == pytest.approx(np.full(10, 0.8), abs=0.03)  # 8 of 10; 0.006 is one standard error


def test_rows_of_several_row_groups_meet_in_a_batch(tmp_path):
    path = publish(tmp_path / "t.parquet", [[8]] * 6)
    mixed = read(path, batch_size=8, shuffle_rows_buffer=24)
    assert min(len({row // 8 for row in batch}) for batch in mixed) > 1


def test_row_groups_and_the_rows_within_each_are_in_another_order_every_time(tmp_path):
    path = publish(tmp_path / "t.parquet", [[8]] * 6)
    epochs = [read(path, epoch, batch_size=8, shuffle_rows_buffer=1) for epoch in range(3)]
    groups = [[batch[0] // 8 for batch in batches] for batches in epochs]
    assert [[{row // 8 for row in batch} for batch in batches] for batches in epochs] == [
        [{group} for group in order] for order in groups
    ]
    assert len(set(map(tuple, groups))) == 3
    assert len({tuple(row % 8 for row in batch) for batch in flat(epochs)}) == 18


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_data_set_smaller_than_a_batch_is_one_smaller_batch(tmp_path, ranks):
    path = publish(tmp_path / "t.parquet", [[3], [2]])
    found = by_rank(path, ranks, batch_size=8)
    assert [[len(batch) for batch in batches] for batches in found] == [[5 // ranks]] * ranks


def test_several_tables_are_read_as_one_in_the_order_given(tmp_path):
    late = publish(tmp_path / "late.parquet", [[3]], first=7)
    early = publish(tmp_path / "early.parquet", [[4], [3]])
    assert flat(read([early, late], shuffle=False)) == list(range(10))
    assert flat(read([late, early], shuffle=False)) == [7, 8, 9, 0, 1, 2, 3, 4, 5, 6]
    assert reader([early, late]).num_rows == 10


@pytest.mark.parametrize("engine", ENGINES)
def test_no_thread_outlives_an_iterator_that_is_left_early(tmp_path, engine):
    path = publish(tmp_path / "t.parquet", [[4]] * 30)
    before = set(threading.enumerate())
    batches = reader(path, engine=engine, shuffle_rows_buffer=8).epoch(0)
    next(batches)
    assert set(threading.enumerate()) > before
    batches.close()
    assert set(threading.enumerate()) == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_lie_in_pinned_memory(tmp_path):
    path = publish(tmp_path / "t.parquet", REMAINDERS)
    assert all(batch["row"].is_pinned() for batch in reader(path, pin_memory=True, shuffle_rows_buffer=11).epoch(0))
