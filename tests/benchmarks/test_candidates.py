"""The union that the benchmark measures is the one that the job builds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.candidates import Ranks, Union, alone, figures_of, tuned
from benchmarks.write_results import contribution_table
from recsys_spark.arrays import find, pair_keys
from recsys_spark.baselines.query_batches import QueryBatch
from recsys_spark.baselines.ranking import Popular, Scored
from recsys_spark.candidates.merge import candidate_rows
from recsys_spark.candidates.retrieve import Retriever
from recsys_spark.candidates.sources import Source
from tests.candidates.tower_folders import histories

NUM_ITEMS, NUM_QUERIES = 900, 6
QUOTAS = {"own": 40, "ease": 90, "item_knn": 60}
UNION = Union(QUOTAS, repeat_share=0.4, max_per_query=250)


@dataclass(frozen=True)
class Shuffled:
    """Scores every item of every query, in an order of its own."""

    seed: int
    name: str = "shuffled"

    def popular(self) -> Popular:
        return Popular(np.arange(1, NUM_ITEMS + 1), np.zeros(NUM_ITEMS))

    def score(self, batch: QueryBatch) -> Scored:
        scores = np.random.default_rng(self.seed).permuted(np.tile(np.arange(NUM_ITEMS), (len(batch), 1)), axis=1)
        rows = np.repeat(np.arange(len(batch)), NUM_ITEMS)
        return Scored(rows, np.tile(np.arange(1, NUM_ITEMS + 1), len(batch)), scores.ravel().astype(float))


BATCH = histories(*([(day, 1 + 3 * day) for day in range(70)] for _ in range(NUM_QUERIES)))
POSITIVES = np.sort(pair_keys(np.arange(60) % NUM_QUERIES, np.random.default_rng(1).integers(1, NUM_ITEMS + 1, 60)))
SEEN = np.sort(pair_keys(np.repeat(np.arange(NUM_QUERIES), 70), np.tile(1 + 3 * np.arange(70), NUM_QUERIES)))


def retriever(quotas: dict[str, int], places: int) -> Retriever:
    found = [Source(name, Shuffled(seed), quotas[name], name == "own") for seed, name in enumerate(QUOTAS)]
    return Retriever(tuple(found), places, UNION.repeat_share)


@pytest.fixture(scope="module")
def ranks() -> Ranks:
    """Of all items to a depth of 400, as `source_ranks` has them."""
    listed = retriever(dict.fromkeys(QUOTAS, 400), 1).listed(BATCH)
    rows = candidate_rows(np.unique(np.concatenate([POSITIVES, *(one.keys for one in listed)])), listed)
    table = pd.DataFrame(rows.ranks, columns=list(QUOTAS))
    return Ranks(
        table.assign(
            query_id=rows.rows,
            item_idx=rows.items,
            is_positive=find(np.unique(POSITIVES), rows.keys)[1],
            is_repeat=find(SEEN, rows.keys)[1],
        )
    )


@pytest.mark.parametrize(("places", "growth"), [(100, 1.0), (200, 1.0), (400, 1.6)])
def test_the_recall_is_that_of_the_jobs_candidates(ranks, places, growth):
    quotas = {name: round(quota * growth) for name, quota in QUOTAS.items()}
    candidates = retriever(quotas, places).propose(BATCH)
    wanted = np.unique(POSITIVES)
    held = find(np.sort(candidates.keys), wanted)[1].mean()
    assert 0 < held < 1
    assert ranks.recall(UNION, "all_items")[places] == held


def test_what_is_proposed_beyond_a_quota_is_no_candidate(ranks):
    few = Union({"ease": 1}, 0.5, 250)
    assert ranks.recall(few, "all_items", (100,))[100] <= NUM_QUERIES / len(np.unique(POSITIVES))


@pytest.mark.parametrize("protocol", ["all_items", "first_purchase"])
def test_a_filled_union_of_one_source_is_that_source_alone(ranks, protocol):
    few = Union({"ease": 1}, 0.5, 250, is_filled=True)
    assert ranks.recall(few, protocol) == ranks.recall(alone("ease"), protocol)


def test_a_union_whose_places_are_filled_holds_more(ranks):
    as_built, filled = (ranks.recall(replace(UNION, is_filled=each), "first_purchase")[200] for each in (False, True))
    assert filled > as_built


def test_tuning_never_loses_and_tells_of_quotas_and_of_the_share(ranks):
    best = tuned(ranks, UNION)
    reached = [ranks.recall(each, "first_purchase", (200,))[200] for each in (UNION, best)]
    assert reached[1] >= reached[0]
    detail = figures_of(ranks, best, "run")[0].detail
    assert (detail["quotas"], detail["repeat_share"]) == (dict(best.quotas), best.repeat_share)


def test_the_page_tells_what_each_source_adds(ranks):
    figure = figures_of(ranks, UNION, "run")[0]
    text = contribution_table({"name": figure.name, "detail": {**figure.detail, "contribution": {"ease": 0.0123}}})
    assert "### `candidates.union_over_best_source.all_items.run`" in text
    recall = figure.detail["alone"]["ease"]
    assert f"| ease | 90 | {recall[100]:.4f} | {recall[200]:.4f} | {recall[400]:.4f} | +0.0123 |" in text
