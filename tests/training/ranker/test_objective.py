"""The ranker's model, the loss of a batch, and its metrics on the dev slice, against loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow  # noqa: F401  before torch
import pytest
import torch
import torch.nn.functional as nnf

from tests.support.rankers import KINDS, Candidates, planted
from tests.training.ranker.test_losses import slow_listwise
from training.process_group import Group
from training.ranker.batches import RankerBatch
from training.ranker.metrics import dev_metrics
from training.ranker.model import RankerEnsemble, RankerMLP
from training.ranker.objective import ObjectiveOptions, RankerTask
from training.ranker.transform import FeatureTransform

pytestmark = pytest.mark.torch

WORLD = planted(6)
CPU = torch.device("cpu")


def make_model(seed: int = 0, within_query: bool = True, dropout: float = 0.0) -> RankerMLP:
    torch.manual_seed(seed)
    transform = FeatureTransform(KINDS)
    transform.fit(planted(40).features)
    return RankerMLP(transform, 12, dropout, within_query)


def make_task(model: torch.nn.Module | None = None, dev: Any = None, device: torch.device = CPU, **options: Any):
    return RankerTask(model or make_model().to(device), ObjectiveOptions(**options), Group(device=device), dev)


def scores_of(model: torch.nn.Module, rows: Candidates) -> torch.Tensor:
    batch = rows.batch()
    return model(batch.features, batch.query)


def test_the_model_is_its_formula():
    model, batch = make_model(), WORLD.batch()
    x = model.transform(batch.features)
    scaled = torch.cat(
        [(x[rows] - x[rows].mean(0)) / (x[rows].std(0, correction=0) + 1e-3) for rows in by_query(batch)]
    )
    inputs = torch.cat([x, scaled], dim=1)

    def layer(name: str, values: torch.Tensor) -> torch.Tensor:
        state = model.state_dict()
        values = torch.relu(values @ state[f"{name}.0.weight"].T + state[f"{name}.0.bias"])
        if f"{name}.3.weight" not in state:
            return values
        return nnf.layer_norm(values, (12,), state[f"{name}.3.weight"], state[f"{name}.3.bias"])

    first = layer("first", inputs)
    expected = layer("last", first + layer("second", first)) @ model.heads.weight.T + model.heads.bias
    assert torch.allclose(scores_of(model, WORLD), expected, atol=1e-5)


def by_query(batch: RankerBatch) -> list[torch.Tensor]:
    return [batch.query == number for number in batch.query.unique()]


@pytest.mark.parametrize("within_query", [True, False])
def test_scores_of_a_query_do_not_depend_on_what_is_scored_beside_it(within_query):
    model = make_model(within_query=within_query)
    together = scores_of(model, WORLD)
    for number in range(6):
        rows = WORLD.query() == number
        assert torch.allclose(scores_of(model, WORLD.rows(rows)), together[rows], atol=1e-6)
    alone = scores_of(model, WORLD.rows([0]))  # z-scores of one row are zero
    assert bool(alone.isfinite().all())


def test_an_ensemble_is_the_mean_of_its_members():
    members = [make_model(seed) for seed in range(3)]
    expected = sum(scores_of(member, WORLD) for member in members) / 3
    assert torch.allclose(scores_of(RankerEnsemble(members), WORLD), expected, atol=1e-6)


def test_a_dropped_feature_has_no_influence_and_only_on_the_rows_that_do_without_it():
    model, batch = make_model(), WORLD.batch()
    dropped = torch.zeros_like(batch.features, dtype=torch.bool)
    dropped[::2, 0] = True
    other = batch.features.clone()
    other[:, 0] = -other[:, 0]  # keeps its deviation within each query
    one = model(batch.features, batch.query, dropped)
    two = model(other, batch.query, dropped)
    assert torch.allclose(one[::2], two[::2], atol=1e-6)
    assert not torch.allclose(one[1::2], two[1::2], atol=1e-3)


def test_the_share_of_rows_that_do_without_a_feature_is_that_asked_for():
    task, batch = make_task(dropped=(0, 2), drop_share=0.25), planted(400).batch()
    dropped = task._dropped(batch)
    assert dropped[:, [0, 2]].float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(dropped[:, 0], dropped[:, 2])
    assert not dropped[:, [1, 3]].any()
    assert make_task()._dropped(batch) is None


@pytest.mark.parametrize("form", ["listwise", "bce"])
def test_the_loss_of_a_batch_is_the_sum_over_heads_each_of_its_own_rows(form):
    task, batch = make_task(form=form), WORLD.batch()
    scores, expected = scores_of(task.model, WORLD).detach(), 0.0
    for place, rows in enumerate((torch.ones(len(batch), dtype=torch.bool), ~batch.is_repeat)):
        logits, labels = scores[rows, place], batch.label[rows]
        if form == "bce":
            expected += nnf.binary_cross_entropy_with_logits(logits, labels).item()
        else:
            total, weight = slow_listwise(logits, labels, batch.query[rows])
            expected += total / weight
    assert task.loss(batch, 0).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", ["listwise", "bce"])
def test_a_batch_without_positives_or_without_rows_leaves_gradients_whole(form):
    batch = WORLD.batch()
    without = replace(batch, label=torch.zeros_like(batch.label))
    empty = RankerBatch(**{name: values[:0] for name, values in vars(batch).items()})
    for odd in (without, empty):
        task = make_task(form=form, negatives_per_positive=2)
        loss = task.loss(odd, 0)
        loss.backward()
        assert loss.item() == 0
        gradients = [parameter.grad for parameter in task.model.parameters() if parameter.grad is not None]
        assert all(bool((gradient == 0).all()) for gradient in gradients)


def test_the_loss_under_bfloat16_is_near_the_full_one():
    task, batch = make_task(), WORLD.batch()
    full = task.loss(batch, 0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = task.loss(batch, 0)
    rounded.backward()
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(full.item(), rel=0.02)


def slow_metrics(rows: Candidates, scores: np.ndarray, k: int = 20) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, head in enumerate(("all", "first")):
        hits = gains = count = 0.0
        for number in sorted(set(rows.query().tolist())):
            offered = [r for r in np.flatnonzero(rows.query() == number) if head == "all" or not rows.is_repeat[r]]
            ranked = sorted(offered, key=lambda r: (-scores[r, place], rows.item_idx[r]))
            for rank, row in enumerate(ranked, start=1):
                if rows.label[row]:
                    count += 1
                    hits += rank <= k
                    gains += 1 / math.log2(1 + rank) if rank <= k else 0
        found |= {f"recall@20_{head}": hits / count, f"ndcg@20_{head}": gains / count}
    for kind in ("recall@20", "ndcg@20"):
        found[kind] = (found[f"{kind}_all"] + found[f"{kind}_first"]) / 2
    return found


def long_queries(num_queries: int, size: int) -> Candidates:
    """Of more candidates than 20, with several positives."""
    rng = np.random.default_rng(4)
    rows = num_queries * size
    query, items = np.repeat(np.arange(num_queries), size), np.tile(rng.permutation(size), num_queries)
    label, features = (rng.random(rows) < 0.1).astype(np.float32), rng.normal(size=(rows, 4)).astype(np.float32)
    return Candidates(query, items, label, rng.random(rows) < 0.3, features)


@pytest.mark.parametrize("rows", [WORLD, long_queries(5, 60)], ids=["short", "long"])
def test_dev_metrics_equal_a_loop_over_positives(rows):
    scores = np.random.default_rng(2).integers(0, 4, (len(rows), 2)).astype(np.float32)  # ties
    cuts = np.flatnonzero(np.diff(rows.query())) + 1
    parts: Sequence[np.ndarray] = np.split(np.arange(len(rows)), [cuts[1], cuts[1], cuts[3]])  # one is empty
    scored = [(rows.rows(part).batch(), torch.from_numpy(scores[part])) for part in parts]
    assert dev_metrics(scored, Group()) == pytest.approx(slow_metrics(rows, scores))


def test_a_head_without_dev_positives_has_no_metric():
    of_repeats = WORLD.rows(WORLD.is_repeat)
    task = make_task(dev=lambda: [of_repeats.batch()])
    found = task.evaluate()
    assert set(found) == {"recall@20", "ndcg@20", "recall@20_all", "ndcg@20_all"}
    assert found["ndcg@20"] == found["ndcg@20_all"]
    assert make_task(dev=lambda: [WORLD.rows(WORLD.label == 0).batch()]).evaluate() == {}
    assert make_task().evaluate() == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("form", ["listwise", "bce"])
def test_a_gpu_gives_the_loss_and_the_metrics_of_the_cpu(form):
    found = {}
    for kind in ("cpu", "cuda"):
        task = make_task(form=form, device=torch.device(kind), dev=lambda: [long_queries(5, 60).batch()])
        found[kind] = [task.loss(WORLD.batch(), 0).item(), *task.evaluate().values()]
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-4)
    sampled = make_task(form="bce", device=torch.device("cuda"), negatives_per_positive=2, drop_share=0.5, dropped=(0,))
    assert math.isfinite(sampled.loss(WORLD.batch(), 0).item())
