"""On a checkerboard, where even customers take even items, every tower and every loss finds the withheld item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch

from tests.support.towers import SHAPE, Query, batch_of, make_model, make_task
from training.batches import RetrieverBatch
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group
from training.retriever.model import PooledHistory
from training.retriever.objective import ObjectiveOptions

pytestmark = pytest.mark.torch

NUM_USERS, NUM_ITEMS, PER_SIDE = 40, 20, 10
BATCH_SIZE, EPOCHS = 40, 12


def side(user: int) -> list[int]:
    """The items that a customer takes, the withheld one last."""
    items = [item for item in range(1, NUM_ITEMS + 1) if item % 2 == user % 2]
    withheld = (user // 2) % PER_SIDE
    return items[:withheld] + items[withheld + 1 :] + [items[withheld]]


def examples(epoch: int) -> list[Query]:
    """From each customer, each item but the withheld one as the target of a history of the others, in random order."""
    rng = np.random.default_rng(epoch)
    found = []
    for user in range(1, NUM_USERS + 1):
        bought = side(user)[:-1]
        for target in bought:
            others = rng.permutation([item for item in bought if item != target]).tolist()
            history = tuple((item, float(len(others) - place)) for place, item in enumerate(others))
            found.append(Query(user, history, (target,)))
    return [found[place] for place in rng.permutation(len(found))]


def batches(epoch: int, skip: int) -> Iterator[RetrieverBatch]:
    queries = examples(epoch)
    for first in range(skip * BATCH_SIZE, len(queries), BATCH_SIZE):
        yield batch_of(queries[first : first + BATCH_SIZE], hist_max=PER_SIDE, num_targets=1)


def recall_of_the_withheld(model: torch.nn.Module) -> float:
    """Share of customers to whom, of all they have not bought, the withheld item is shown first."""
    queries = [
        Query(user, tuple((item, 1.0) for item in side(user)[:-1]), (side(user)[-1],))
        for user in range(1, NUM_USERS + 1)
    ]
    batch = batch_of(queries, hist_max=PER_SIDE, num_targets=1).to(torch.device("cpu"))
    everything = torch.arange(NUM_ITEMS + 1)
    with torch.no_grad():
        items = model.towers.items(everything)
        history = PooledHistory.of(batch.history, batch.history_days)
        scores = model.towers.users(batch.user_idx, history, items) @ items.T
    scores[:, 0] = -torch.inf
    scores.scatter_(1, batch.history, -torch.inf)
    return float((scores.argmax(dim=1) == batch.positives[:, 0]).float().mean())


def test_the_world_withholds_exactly_one_item_of_each_customers_side():
    for user in range(1, NUM_USERS + 1):
        taken = {query.positives[0] for query in examples(0) if query.user == user}
        assert {item for item in range(1, NUM_ITEMS + 1) if item % 2 == user % 2} - taken == {side(user)[-1]}


@pytest.mark.parametrize("user_tower", ["id", "history", "both"])
@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_the_withheld_item_comes_first(tmp_path, form, user_tower):
    shape = replace(SHAPE, num_users=NUM_USERS, num_items=NUM_ITEMS, dim=8, user_tower=user_tower, hist_max=PER_SIDE)
    model = make_model(shape, temperature=0.3)
    assert recall_of_the_withheld(model) < 0.5
    share = torch.full((NUM_ITEMS + 1,), 1 / NUM_ITEMS)
    task = make_task(model, ObjectiveOptions(form=form, num_negatives=8), share=share)
    optimizers = Optimizers(model, learning_rate=0.02)
    Loop(task, optimizers, batches, LoopSettings(max_epochs=EPOCHS), Group(), tmp_path).run()
    assert recall_of_the_withheld(model) >= 0.95
