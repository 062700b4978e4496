"""Worlds in which what is bought depends on the context of the query and on nothing else that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch

from recsys_spark.contracts.context import CONTEXT_SIZES
from tests.support.towers import SHAPE, Query, batch_of, make_model, make_task
from training.batches import RetrieverBatch
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group
from training.retriever.model import PooledHistory, TwoTower
from training.retriever.objective import ObjectiveOptions
from training.retriever.trends import RecentSales

pytestmark = pytest.mark.torch

NUM_ITEMS, BATCH_SIZE, EPOCHS = 10, 40, 12
FEATURES = tuple(CONTEXT_SIZES)


def queries(feature: str, number: int, seed: int) -> list[Query]:
    """Histories of two items drawn at random. With an odd value of the feature item 1 is bought, with an even one item
    2; the other features are drawn too, and say nothing.
    """
    rng, found = np.random.default_rng(seed), []
    for user in range(1, number + 1):
        context = [int(rng.integers(1, min(size, 6) + 1)) for size in CONTEXT_SIZES.values()]
        value = context[FEATURES.index(feature)]
        history = tuple((int(item), 5.0) for item in rng.choice(np.arange(3, NUM_ITEMS + 1), 2, replace=False))
        found.append(Query(user, history, (1 if value % 2 else 2,), context=tuple(context)))
    return found


def found_first(model: torch.nn.Module, feature: str) -> float:
    """Share of new queries to whom, of items 1 and 2, the one that is bought is nearer."""
    held = queries(feature, 200, seed=99)
    batch, everything = batch_of(held, hist_max=2, num_targets=1).to(torch.device("cpu")), torch.arange(NUM_ITEMS + 1)
    with torch.no_grad():
        items = model.towers.items(everything)
        history = PooledHistory.of(batch.history, batch.history_days)
        scores = model.towers.users(batch.user_idx, history, items, batch.context) @ items[1:3].T
    return float((scores.argmax(dim=1) + 1 == batch.positives[:, 0]).float().mean())


def trained(folder, feature: str, context: tuple[str, ...]) -> torch.nn.Module:
    shape = replace(SHAPE, num_users=1, num_items=NUM_ITEMS, dim=8, hist_max=2, context=context)
    model = make_model(shape, temperature=0.3)

    def batches(epoch: int, skip: int) -> Iterator[RetrieverBatch]:
        every = queries(feature, 10 * BATCH_SIZE, seed=epoch)
        for first in range(skip * BATCH_SIZE, len(every), BATCH_SIZE):
            yield batch_of(every[first : first + BATCH_SIZE], hist_max=2, num_targets=1)

    share = torch.full((NUM_ITEMS + 1,), 1 / NUM_ITEMS)
    task = make_task(model, ObjectiveOptions(num_negatives=8), share=share)
    settings = LoopSettings(max_epochs=EPOCHS)
    Loop(task, Optimizers(model, learning_rate=0.02), batches, settings, Group(), folder).run()
    return model


@pytest.mark.parametrize("feature", FEATURES)
def test_a_tower_that_is_told_finds_what_a_plain_one_cannot(tmp_path, feature):
    assert found_first(trained(tmp_path / "told", feature, (feature,)), feature) >= 0.95
    assert found_first(trained(tmp_path / "plain", feature, ()), feature) < 0.7


def test_items_that_are_told_of_their_sales_find_what_rises_in_the_last_snapshot(tmp_path):
    """In even periods item 1 rises and is bought, in odd ones item 2; all in all each is sold as often."""
    counts = {(period, item): (9, 1) if (period + item) % 2 else (1, 9) for period in range(4) for item in (1, 2)}
    period, items = (np.array(values) for values in zip(*counts, strict=True))
    now, before = (np.array(values, dtype=np.float32) for values in zip(*counts.values(), strict=True))

    def sales(num_periods: int) -> RecentSales:
        return RecentSales.of_rows(period, items, now, NUM_ITEMS, num_periods, before)

    def asked(periods: tuple[int, ...], number: int, seed: int) -> list[Query]:
        rng, found = np.random.default_rng(seed), []
        for user in range(1, number + 1):
            history = tuple((int(item), 5.0) for item in rng.choice(np.arange(3, NUM_ITEMS + 1), 2, replace=False))
            drawn = int(rng.choice(periods))
            found.append(Query(user, history, (1 + drawn % 2,), period=drawn))
        return found

    def recall(told: bool) -> float:
        shape = replace(SHAPE, num_users=1, num_items=NUM_ITEMS, dim=8, hist_max=2, trend_input=told)
        model = make_model(shape, temperature=0.3)

        def batches(epoch: int, skip: int) -> Iterator[RetrieverBatch]:
            every = asked((0, 1), 10 * BATCH_SIZE, seed=epoch)
            for first in range(skip * BATCH_SIZE, len(every), BATCH_SIZE):
                yield batch_of(every[first : first + BATCH_SIZE], hist_max=2, num_targets=1)

        share = torch.full((NUM_ITEMS + 1,), 1 / NUM_ITEMS)
        task = make_task(model, ObjectiveOptions(num_negatives=8), sales(2) if told else None, share=share, k=(1,))
        settings = LoopSettings(max_epochs=EPOCHS)
        Loop(task, Optimizers(model, learning_rate=0.02), batches, settings, Group(), tmp_path / str(told)).run()
        model.eval()
        found = []
        for last in (2, 3):  # periods that training has not seen
            later = batch_of(asked((last,), 100, seed=99), hist_max=2, num_targets=1)
            task.dev = lambda later=later: [later]
            task.catalogue.sales = sales(last + 1) if told else None
            found.append(task.evaluate()["recall@1"])
        return float(np.mean(found))

    assert recall(told=True) >= 0.95
    assert recall(told=False) < 0.7


def test_a_value_that_training_never_saw_says_nothing(tmp_path):
    towers = trained(tmp_path, "showroom", ("showroom", "month")).towers
    assert isinstance(towers, TwoTower)
    assert towers.context is not None
    vectors = towers.context.of("showroom")
    assert vectors.shape[0] == CONTEXT_SIZES["showroom"] + 1
    seen = vectors.any(dim=1).nonzero().flatten().tolist()
    assert seen == [1, 2, 3, 4, 5, 6]
