"""The towers: unit vectors, padding, pooling against loops, blocks in the order that the docstring states."""

from __future__ import annotations

import math
from dataclasses import replace

import pyarrow  # noqa: F401  before torch
import pytest
import torch
from torch import Tensor

from tests.support.towers import NUM_ITEMS, NUM_USERS, SHAPE, Query, batch_of, make_model, random_queries
from training.optimizers import Optimizers
from training.retriever.model import Head, PooledHistory, ResidualBlock, TowerShape, TwoTower

pytestmark = pytest.mark.torch

EVERY_ITEM = torch.arange(NUM_ITEMS + 1)
QUERIES = random_queries(20, seed=1)
ALL_SHAPES = [
    replace(SHAPE, user_tower=user_tower, pooling=pooling, tied=tied, num_blocks=num_blocks)
    for user_tower in ("id", "history", "both")
    for pooling in ("mean", "recency", "attention")
    for tied in (True, False)
    for num_blocks in (0, 2)
]


def name_of(shape: TowerShape) -> str:
    return f"{shape.user_tower}-{shape.pooling}-{'tied' if shape.tied else 'untied'}-{shape.num_blocks}"


def towers_of(shape: TowerShape = SHAPE) -> TwoTower:
    """With attention that prefers some items, and biases that are not zero."""
    towers = make_model(shape).towers
    with torch.no_grad():
        for parameter in towers.parameters():
            if parameter.ndim == 1:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    return towers.eval()


def user_vectors(towers: TwoTower, queries: list[Query]) -> Tensor:
    batch = batch_of(queries).to(torch.device("cpu"))
    history, _ = PooledHistory.of(batch.history, batch.history_days).among(EVERY_ITEM)
    return towers.users(batch.user_idx, history, towers.items(EVERY_ITEM))


def slow_pool(towers: TwoTower, query: Query) -> Tensor:
    """The weighted sum of the history's vectors, event by event."""
    shape, table = towers.shape, towers.items(EVERY_ITEM)
    if towers.history_emb is not None:
        table = towers.history_emb.weight
    total = torch.zeros(shape.dim)
    for item, days in query.history:
        weight = torch.tensor(1.0)
        if shape.pooling == "recency":
            weight = torch.tensor(math.exp(-days / shape.decay_days))
        if towers.attention is not None:
            affinity = torch.dot(table[item], towers.attention[:-1])
            slope = torch.log1p(towers.attention[-1].exp())
            weight = torch.exp(4 * torch.tanh(affinity) - slope * days / shape.decay_days)
        total = total + weight * table[item]
    return total / total.norm() if query.history else total


@pytest.mark.parametrize("shape", ALL_SHAPES, ids=name_of)
def test_item_and_user_vectors_have_unit_length(shape):
    towers = towers_of(shape)
    lengths = [
        towers.items(EVERY_ITEM[1:]).norm(dim=1),
        user_vectors(towers, random_queries(20, with_empty=False)).norm(dim=1),
    ]
    for found in lengths:
        assert torch.allclose(found, torch.ones_like(found), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "recency", "attention"])
@pytest.mark.parametrize("tied", [True, False])
def test_pooling_equals_a_loop_over_events(pooling, tied):
    towers = towers_of(replace(SHAPE, pooling=pooling, tied=tied))
    expected = torch.stack([slow_pool(towers, query) for query in QUERIES])
    assert any(not query.history for query in QUERIES)
    assert torch.allclose(user_vectors(towers, QUERIES), expected, atol=1e-5)


def test_a_history_of_decades_ago_still_gives_a_unit_vector():
    history = ((3, 20_000.0), (5, 19_990.0), (7, 19_950.0))  # exp(-20,000 / 90) is no float32
    found = user_vectors(towers_of(), [Query(1, history, (1,))])
    recent = user_vectors(towers_of(), [Query(1, tuple((item, days - 19_950) for item, days in history), (1,))])
    assert torch.allclose(found, recent, atol=1e-6)
    assert float(found.detach().norm()) == pytest.approx(1.0, abs=1e-6)


def test_a_batch_of_empty_histories_gives_zero_vectors_and_gradients_that_are_numbers():
    towers = towers_of()
    found = user_vectors(towers, [Query(1, (), (1,)), Query(2, (), (1,))])
    assert bool((found == 0).all())
    found.sum().backward()
    assert towers.item_emb.weight.grad is not None
    assert bool(towers.item_emb.weight.grad.coalesce().values().isfinite().all())


def test_the_id_tower_ignores_the_history():
    towers = towers_of(replace(SHAPE, user_tower="id"))
    without = [replace(query, history=()) for query in QUERIES]
    assert torch.equal(user_vectors(towers, QUERIES), user_vectors(towers, without))
    assert towers.history_emb is None


def test_the_history_tower_ignores_who_asks_and_both_does_not():
    others = [replace(query, user=query.user % NUM_USERS + 1) for query in QUERIES]
    towers = towers_of()
    assert torch.equal(user_vectors(towers, QUERIES), user_vectors(towers, others))
    towers = towers_of(replace(SHAPE, user_tower="both"))
    assert (user_vectors(towers, QUERIES) - user_vectors(towers, others)).abs().max() > 0.01


def test_both_is_the_sum_of_the_customers_vector_and_the_pooled_history():
    towers = towers_of(replace(SHAPE, user_tower="both"))
    assert towers.user_emb is not None
    sums = torch.stack([slow_pool(towers, query) + towers.user_emb.weight[query.user] for query in QUERIES])
    assert torch.allclose(user_vectors(towers, QUERIES), sums / sums.norm(dim=1, keepdim=True), atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_history_changes_with_the_items_vector_and_an_untied_one_with_its_own_table(tied):
    towers = towers_of(replace(SHAPE, tied=tied))
    before = user_vectors(towers, QUERIES)
    with torch.no_grad():
        towers.item_emb.weight[1:] += torch.randn(NUM_ITEMS, SHAPE.dim)
    assert torch.equal(before, user_vectors(towers, QUERIES)) == (not tied)
    assert (towers.history_emb is None) == tied


def test_a_residual_block_is_linear_norm_relu_dropout_and_the_sum_in_this_order():
    torch.manual_seed(1)
    block, x = ResidualBlock(8, dropout=0.5), torch.randn(200, 8)
    linear, norm = block.body[0], block.body[1]
    assert isinstance(norm, torch.nn.LayerNorm)
    torch.nn.init.normal_(norm.weight)
    y = x @ linear.weight.T + linear.bias
    y = (y - y.mean(dim=1, keepdim=True)) / (y.var(dim=1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    expected = (y * norm.weight + norm.bias).clamp_min(0)
    assert torch.allclose(block.eval()(x), x + expected, atol=1e-5)
    dropped = (block.train()(x) - x).detach()
    is_kept = dropped != 0
    assert torch.allclose(dropped[is_kept], 2 * expected[is_kept], atol=1e-4)  # scaled by 1 / (1 - dropout)
    assert 0.45 < float(is_kept[expected > 0].float().mean()) < 0.55


def test_a_head_ends_in_a_layer_norm_and_unit_length_and_without_blocks_in_unit_length_alone():
    x = torch.randn(5, 8)
    assert torch.allclose(Head(8, 0, 0.0)(x), x / x.norm(dim=1, keepdim=True), atol=1e-6)
    head = Head(8, 1, 0.0)
    y = head.norm(head.blocks(x))
    assert torch.allclose(head(x), y / y.norm(dim=1, keepdim=True), atol=1e-6)


def test_side_features_add_the_mean_of_their_vectors_without_padding():
    towers = towers_of(replace(SHAPE, num_side=4))
    assert towers.side_emb is not None
    assert bool((towers.side_emb.weight == 0).all())  # until training has seen them
    torch.nn.init.normal_(towers.side_emb.weight[1:])
    side = torch.tensor([[1, 3, 0], [0, 0, 0]])
    sums = towers.item_emb.weight[[2, 5]].clone()
    sums[0] += towers.side_emb.weight[[1, 3]].mean(dim=0)
    expected = sums / sums.norm(dim=1, keepdim=True)
    assert torch.allclose(towers.items(torch.tensor([2, 5]), side), expected, atol=1e-6)


@pytest.mark.parametrize("num_blocks", [0, 2])
def test_an_item_of_which_nothing_is_known_has_no_vector_and_gradients_that_are_numbers(num_blocks):
    towers = make_model(replace(SHAPE, num_side=4, num_blocks=num_blocks, trend_input=True)).towers
    found = towers.items(torch.tensor([0, 2]), torch.tensor([[1], [1]]), torch.zeros(2, 2))
    assert found.any(dim=1).tolist() == [False, True]
    (found @ torch.randn(SHAPE.dim)).sum().backward()
    gradients = [one.grad for one in towers.parameters() if one.grad is not None]
    gradients = [one.coalesce().values() if one.is_sparse else one for one in gradients]
    assert all(bool(one.isfinite().all()) and float(one.norm()) < 100 for one in gradients)


def test_an_untied_history_of_the_whole_catalogue_reads_its_table_where_it_lies():
    towers = towers_of(replace(SHAPE, tied=False))
    batch = batch_of(QUERIES).to(torch.device("cpu"))
    whole = PooledHistory.of(batch.history, batch.history_days)
    pooled = [whole.among(EVERY_ITEM)[0], whole]
    looked_up, by_place = (towers.users(batch.user_idx, one, torch.empty(0)) for one in pooled)
    assert torch.equal(looked_up, by_place)
    assert towers._held(pooled[1], torch.empty(0)) is towers.history_emb.weight


@pytest.mark.parametrize("shape", [s for s in ALL_SHAPES if s.pooling == "attention"], ids=name_of)
def test_the_padding_row_of_every_table_is_zero_and_stays_so(shape):
    towers = make_model(replace(shape, num_side=4)).towers
    optimizers = Optimizers(towers, learning_rate=0.1, weight_decay=0.1)
    batch = batch_of(QUERIES).to(torch.device("cpu"))
    side = torch.arange(NUM_ITEMS + 1)[:, None] % 5
    for _ in range(2):
        vectors = towers.items(EVERY_ITEM, side)
        pooled, _ = PooledHistory.of(batch.history, batch.history_days).among(EVERY_ITEM)
        users = towers.users(batch.user_idx, pooled, vectors)
        optimizers.zero_grad()
        (users @ vectors.T).square().sum().backward()
        optimizers.step()
    tables = [module for module in towers.modules() if isinstance(module, torch.nn.Embedding)]
    assert len(tables) == 2 + (shape.user_tower != "history") + (shape.user_tower != "id" and not shape.tied)
    for table in tables:
        assert bool((table.weight[0] == 0).all())
        assert bool((table.weight[1:] != 0).any(dim=1).all())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pooling", ["mean", "recency", "attention"])
def test_a_gpu_gives_the_vectors_of_the_cpu(pooling):
    towers = towers_of(replace(SHAPE, pooling=pooling, user_tower="both", num_blocks=2))
    expected = user_vectors(towers, QUERIES)
    device = torch.device("cuda")
    towers, batch, items = towers.to(device), batch_of(QUERIES).to(device), EVERY_ITEM.to(device)
    history, _ = PooledHistory.of(batch.history, batch.history_days).among(items)
    found = towers.users(batch.user_idx, history, towers.items(items))
    assert torch.allclose(found.cpu(), expected, atol=1e-4)
