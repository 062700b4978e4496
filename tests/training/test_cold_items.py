"""Items that training never sees as a target are ranked as their brand is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recsys_spark.contracts.retriever_config import TowerConfig
from tests.support.towers import SHAPE, Query, batch_of, make_model, make_task
from training.batches import RetrieverBatch
from training.loop import Loop, LoopSettings
from training.optimizers import Optimizers
from training.process_group import Group
from training.retriever.item_facts import ItemFacts
from training.retriever.objective import ObjectiveOptions

pytestmark = pytest.mark.torch

PER_BRAND, BATCH_SIZE = 6, 40
BRANDS = {1: range(1, 7), 2: range(7, 13)}  # by the number of the feature; customers keep to one of them
COLD, WITHOUT_BRAND = {13: 1, 14: 2, 15: 1, 16: 2}, 17
NUM_ITEMS = 17


def queries(number: int, seed: int) -> list[Query]:
    rng, found = np.random.default_rng(seed), []
    for user in range(1, number + 1):
        items = rng.permutation(list(BRANDS[1 + user % 2])).tolist()
        found.append(Query(user, tuple((item, 3.0) for item in items[:3]), (items[3],)))
    return found


@pytest.mark.parametrize("num_blocks", [0, 1])
def test_a_cold_item_ranks_with_its_brand_and_one_of_which_nothing_is_known_has_no_vector(tmp_path, num_blocks):
    side = torch.zeros(NUM_ITEMS + 1, 2, dtype=torch.long)
    for brand, items in BRANDS.items():
        side[list(items), 0] = brand
    for item, brand in COLD.items():
        side[item, 0] = brand
    is_target = (torch.arange(NUM_ITEMS + 1) > 0) & (torch.arange(NUM_ITEMS + 1) <= 2 * PER_BRAND)
    shape = replace(SHAPE, num_users=400, num_items=NUM_ITEMS, dim=8, hist_max=3, num_side=2, num_blocks=num_blocks)
    model = make_model(shape, temperature=0.3)

    def batches(epoch: int, skip: int) -> Iterator[RetrieverBatch]:
        every = queries(10 * BATCH_SIZE, seed=epoch)
        for first in range(skip * BATCH_SIZE, len(every), BATCH_SIZE):
            yield batch_of(every[first : first + BATCH_SIZE], hist_max=3, num_targets=1)

    facts = {"side": side, "is_learned": is_target}
    task = make_task(model, ObjectiveOptions(num_negatives=8), share=is_target / is_target.sum(), facts=facts)
    Loop(task, Optimizers(model, 0.02), batches, LoopSettings(max_epochs=6), Group(), tmp_path).run()
    model.eval()
    vectors = task.catalogue.served().ranked
    for item, brand in COLD.items():
        own, other = (vectors[list(BRANDS[number])] @ vectors[item] for number in (brand, 3 - brand))
        assert float(own.min()) > float(other.max()) + 0.2
    assert bool((vectors[WITHOUT_BRAND] == 0).all())


def test_an_item_has_a_vector_of_its_own_where_it_is_a_target_or_has_a_pair(tmp_path):
    items = {"item_idx": [1, 2, 3, 4], "num_targets": [5, 0, 0, 0], "side_brand": [[1, 0]] * 4}
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    pq.write_table(pa.table({"item_idx": [1], "neighbour_idx": [3]}), tmp_path / "pairs.parquet")
    paths, branded = [str(tmp_path / f"{name}.parquet") for name in ("items", "pairs")], ("brand",)
    facts = ItemFacts.load(paths[0], 5, TowerConfig(side_features=branded), paths[1])
    assert facts.own(torch.arange(6)).tolist() == [0, 1, 0, 3, 0, 0]
    alone = ItemFacts.load(paths[0], 5, TowerConfig(side_features=branded))
    assert alone.own(torch.arange(6)).tolist() == [0, 1, 0, 0, 0, 0]
    assert ItemFacts.load(paths[0], 5, TowerConfig(), paths[1]).own(torch.arange(6)).tolist() == [0, 1, 2, 3, 4, 5]
