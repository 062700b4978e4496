"""The loss of a batch and Recall@K on the dev slice, against references that go query by query."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.towers import (
    NUM_ITEMS,
    NUM_PERIODS,
    NUM_USERS,
    SHAPE,
    Query,
    batch_of,
    make_model,
    make_task,
    random_queries,
    random_sales,
    random_share,
    rows_of,
    write_histories,
)
from training import negatives
from training.process_group import Group
from training.retriever import catalogue, dev_recall
from training.retriever.export import export_towers
from training.retriever.model import PooledHistory
from training.retriever.objective import ObjectiveOptions, RetrieverTask

pytestmark = pytest.mark.torch

NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
QUERIES = random_queries(12, seed=2)
EVERY_ITEM = torch.arange(NUM_ITEMS + 1)
FORMS = [
    ObjectiveOptions(num_negatives=6),
    ObjectiveOptions(num_negatives=6, log_q=False, basket_exponent=0.0),
    ObjectiveOptions(num_negatives=6, targets="new", basket_exponent=1.0),
    ObjectiveOptions(num_negatives=6, form="per_example"),
    ObjectiveOptions(num_negatives=6, form="per_example", targets="new", basket_exponent=0.0),
]


def task_of(
    options: ObjectiveOptions,
    user_tower: str = "history",
    trend: bool = True,
    told: bool = False,
    changes: Mapping[str, Any] | None = None,
    **more: Any,
) -> RetrieverTask:
    """told: whether the item tower is told of sales and the user tower of its context, by weights that are not zero.

    changes: of the shape.
    """
    shape = replace(SHAPE, user_tower=user_tower, **(changes or {}))
    if told:
        shape = replace(shape, trend_input=True, context=("weekday", "recency"))
    model = make_model(shape, trend=trend)
    if told:
        torch.nn.init.normal_(model.towers.trend.weight)
        torch.nn.init.normal_(model.towers.context.table.weight[1:])
    return make_task(model, options, random_sales() if trend or told else None, **more)


@torch.no_grad()
def scores(task: RetrieverTask, query: Query) -> list[float]:
    """The logit of every item by its index, from the parts of the model."""
    model, batch = task.model, batch_of([query]).to(torch.device("cpu"))
    items = model.towers.items(EVERY_ITEM)
    history = PooledHistory.of(batch.history, batch.history_days)
    user = model.towers.users(batch.user_idx, history, items, batch.context)[0]
    if model.towers.trend is not None:
        items = model.towers.items(EVERY_ITEM, None, task.catalogue.sales.inputs(query.period, EVERY_ITEM))
    found = []
    for item in range(NUM_ITEMS + 1):
        logit = float(user @ items[item]) / math.exp(model.log_temperature)
        if task.catalogue.sales is not None and model.trend_weight is not None:
            period, of_item = torch.tensor(query.period), torch.tensor(item)
            logit += float(model.trend_weight) * float(task.catalogue.sales.log_counts(period, of_item))
        found.append(logit)
    return found


def targets_of(query: Query, options: ObjectiveOptions) -> list[int]:
    return [item for item in query.positives if options.targets == "all" or item not in query.repeats]


def slow_shared(task: RetrieverTask, step: int) -> float:
    options, share = task.options, random_share().double()
    in_batch = [item for query in QUERIES for item in targets_of(query, options)]
    drawn = negatives.uniform_items(options.num_negatives, NUM_ITEMS, negatives.generator(11, step, 1)).tolist()
    q = {
        item: 1 - (1 - float(share[item])) ** len(in_batch) * (1 - 1 / NUM_ITEMS) ** options.num_negatives
        for item in {*in_batch, *drawn}
    }
    total = weights = 0.0
    for query in QUERIES:
        logits, targets = scores(task, query), targets_of(query, options)
        bought = {item for other in QUERIES if other.user == query.user for item in other.positives}
        for target in targets:
            others = sum(
                math.exp(logits[item]) / (odds if options.log_q else 1.0)
                for item, odds in q.items()
                if item not in bought
            )
            weight = len(targets) ** -options.basket_exponent
            total += weight * math.log(1 + others / math.exp(logits[target]))
            weights += weight
    return total / weights


def slow_per_example(task: RetrieverTask, step: int) -> float:
    options = task.options
    shape = (len(QUERIES), options.num_negatives)
    draws = torch.rand(shape, dtype=torch.float64, generator=negatives.generator(11, step, 2)).tolist()
    total = weights = 0.0
    for query, row in zip(QUERIES, draws, strict=True):
        known = {item for item, _ in query.history} | set(query.positives)
        outside = [item for item in range(1, NUM_ITEMS + 1) if item not in known]
        logits, targets = scores(task, query), targets_of(query, options)
        for target in targets:
            others = sum(math.exp(logits[outside[int(draw * len(outside))]]) for draw in row)
            weight = len(targets) ** -options.basket_exponent
            total += weight * math.log(1 + others / math.exp(logits[target]))
            weights += weight
    return total / weights


@pytest.mark.parametrize(
    ("user_tower", "told"), [("id", False), ("history", False), ("both", False), ("history", True), ("both", True)]
)
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_the_loss_of_a_batch_equals_a_loop_over_queries_targets_and_candidates(options, user_tower, told):
    task = task_of(options, user_tower, told=told)
    slow = slow_per_example if options.form == "per_example" else slow_shared
    assert any(query.repeats for query in QUERIES)
    assert len({query.user for query in QUERIES}) < len(QUERIES)  # baskets of one customer meet
    for step in (0, 5):
        found = task.loss(batch_of(QUERIES), step).item()
        assert found == pytest.approx(slow(task, step), rel=1e-4)


@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_a_batch_without_a_target_costs_nothing(form):
    task = task_of(ObjectiveOptions(form=form, targets="new", num_negatives=4))
    loss = task.loss(batch_of([Query(1, ((2, 1.0),), (2,), repeats=(2,))]), 0)
    loss.backward()
    assert loss.item() == 0
    gradient = task.model.towers.item_emb.weight.grad
    assert gradient is not None
    assert bool((gradient.coalesce().values() == 0).all())


@pytest.mark.parametrize(("users", "is_costly"), [((1, 1), False), ((1, 2), True)])
def test_what_a_customer_bought_in_another_row_of_the_batch_is_no_negative(users, is_costly):
    """Two items in all, one basket that lies in two rows: nothing is left to hold a row's target against."""
    others = tuple(item for item in range(1, NUM_ITEMS + 1) if item not in (5, 6))
    task = task_of(ObjectiveOptions(num_negatives=4), unknown=others)
    rows = [Query(user, ((5, 1.0),), (item,)) for user, item in zip(users, (5, 6), strict=True)]
    loss = task.loss(batch_of(rows), 0)
    loss.backward()
    assert (loss.item() > 0) == is_costly
    assert all(bool(one.grad.coalesce().values().isfinite().all()) for one in [task.model.towers.item_emb.weight])


@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_what_is_first_sold_after_the_cutoff_is_no_negative(form):
    later = range(5, NUM_ITEMS + 1)
    task = task_of(ObjectiveOptions(form=form, num_negatives=200), unknown=tuple(later))
    task.loss(batch_of([Query(1, ((2, 1.0),), (3,))]), 0).backward()
    gradient = task.model.towers.item_emb.weight.grad
    assert gradient is not None
    assert set(gradient.to_dense().any(dim=1).nonzero().flatten().tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
@pytest.mark.parametrize("trend_input", [False, True])
@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_the_loss_under_bfloat16_is_near_the_full_one(form, trend_input, device):
    shape = replace(SHAPE, user_tower="both", pooling="attention", num_blocks=2, trend_input=trend_input)
    group = Group(device=torch.device(device))
    model = make_model(shape, temperature=0.5).to(group.device)
    task = make_task(model, ObjectiveOptions(form=form, num_negatives=6), random_sales(), group)
    full = task.loss(batch_of(QUERIES), 0)
    with torch.autocast(device, torch.bfloat16):
        rounded = task.loss(batch_of(QUERIES), 0)
    rounded.backward()
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(full.item(), rel=0.02)


def as_served(query: Query, unknown_items: tuple[int, ...], unknown_users: tuple[int, ...]) -> Query:
    """The query with what the fit knows, in the last snapshot."""
    history = tuple((item, days) for item, days in query.history if item not in unknown_items)
    user = 0 if query.user in unknown_users else query.user
    return replace(query, user=user, history=history, period=NUM_PERIODS - 1)


@pytest.mark.parametrize("protocol", ["all_items", "first_purchase"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("items_per_slice", "told"), [(5, False), (1000, False), (5, True)])
def test_dev_recall_equals_a_loop_over_what_the_protocol_counts(protocol, tied, items_per_slice, told, monkeypatch):
    for module in (catalogue, dev_recall):
        monkeypatch.setattr(module, "ITEMS_PER_SLICE", items_per_slice)
    unknown, strangers = (4, 9), (1, 2)  # whose queries have histories: without, items would tie
    has_examples = torch.tensor([user not in strangers for user in range(NUM_USERS + 1)])
    assert {query.period for query in QUERIES} == set(range(NUM_PERIODS))
    whole = batch_of(QUERIES)
    parts = [rows_of(whole, first, last) for first, last in ((0, 7), (7, 7), (7, 12))]  # a rank may have an empty one
    options = {"dev": lambda: parts, "unknown": unknown, "k": (1, 4, 40), "has_examples": has_examples}
    task = task_of(ObjectiveOptions(dev_protocol=protocol), "both", told=told, changes={"tied": tied}, **options)
    counted = ObjectiveOptions(targets="new" if protocol == "first_purchase" else "all")
    hits, count = {1: 0, 4: 0, 40: 0}, 0
    for query in QUERIES:
        logits = scores(task, as_served(query, unknown, strangers))
        bought = {item for item, _ in query.history} if protocol == "first_purchase" else set()
        eligible = [item for item in range(1, NUM_ITEMS + 1) if item not in unknown and item not in bought]
        ranked = sorted(eligible, key=lambda item: -logits[item])
        for target in targets_of(query, counted):
            count += 1
            for k in hits:
                hits[k] += target in ranked[:k]
    assert task.evaluate() == pytest.approx({f"recall@{k}": found / count for k, found in hits.items()})
    assert hits[40] < count  # an item that the fit has not seen is never found


@pytest.mark.parametrize(("user_tower", "user"), [("history", 5), ("both", 2), ("id", 2)])
def test_a_dev_query_of_whom_nothing_is_known_is_ranked_by_the_trend_alone(user_tower, user):
    has_examples = torch.arange(NUM_USERS + 1) != 2
    best = int(random_sales().latest().argmax())
    query = Query(user, ((9, 1.0),) if user_tower != "id" else ((3, 1.0),), (best,))
    given = {"dev": lambda: [batch_of([query])], "unknown": (9,), "k": (1,), "has_examples": has_examples}
    task = task_of(ObjectiveOptions(), user_tower, changes={"num_blocks": 2}, **given)
    task.model.eval()
    with torch.no_grad():
        task.model.trend_weight.fill_(1e-3)  # any vector would outweigh it
    assert task.evaluate() == {"recall@1": 1.0}


def test_a_dev_slice_without_targets_gives_no_metric():
    task = task_of(
        ObjectiveOptions(dev_protocol="first_purchase"), dev=lambda: [batch_of([Query(1, ((2, 1.0),), (2,), (2,))])]
    )
    assert task.evaluate() == {}
    assert task_of(ObjectiveOptions()).evaluate() == {}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("trend", "told"), [(True, False), (False, False), (True, True), (False, True)])
@pytest.mark.parametrize("user_tower", ["id", "history", "both"])
def test_exported_vectors_and_offsets_rank_as_the_model_does_at_the_cutoff(tmp_path, user_tower, trend, told):
    latest = NUM_PERIODS - 1
    queries = [replace(query, user=user, period=latest) for user, query in enumerate(QUERIES[:8], start=1)]
    queries = [query for query in queries if 4 not in {item for item, _ in query.history}]
    write_histories(tmp_path / "users.parquet", queries)
    has_examples = torch.arange(NUM_USERS + 1) != queries[0].user
    given = {"unknown": (4,), "has_examples": has_examples}
    task = task_of(ObjectiveOptions(), user_tower, trend=trend, told=told, **given)
    export_towers(task.model, task, str(tmp_path / "users.parquet"), tmp_path / "out")
    items, offsets, users = (
        np.load(tmp_path / "out" / f"{name}.npy") for name in ("item_embeddings", "item_offsets", "user_embeddings")
    )
    assert items.shape == (NUM_ITEMS + 1, SHAPE.dim)
    assert users.shape == (NUM_USERS + 1, SHAPE.dim)
    temperature = math.exp(task.model.log_temperature)
    for query in queries:
        exported = (items @ users[query.user] + offsets) / temperature
        eligible = [item for item in range(1, NUM_ITEMS + 1) if item != 4]
        assert exported[eligible] == pytest.approx(np.array(scores(task, query))[eligible], abs=1e-4)
    zero_rows = np.flatnonzero((items == 0).all(axis=1)).tolist(), np.flatnonzero((users == 0).all(axis=1)).tolist()
    by_history = {query.user for query in queries if query.history and user_tower != "id"}
    by_index = {query.user for query in queries[1:] if user_tower != "history"}
    assert zero_rows == ([0, 4], sorted({*range(NUM_USERS + 1)} - by_history - by_index))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_a_gpu_gives_the_loss_and_the_recall_of_the_cpu(options):
    found = {}
    for kind in ("cpu", "cuda"):
        group = Group(device=torch.device(kind))
        model = make_model(replace(SHAPE, user_tower="both"), trend=True).to(group.device)
        task = make_task(model, options, random_sales(), group, dev=lambda: [batch_of(QUERIES)], k=(3,))
        found[kind] = [task.loss(batch_of(QUERIES), 4).item(), task.evaluate()["recall@3"]]
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-3)
