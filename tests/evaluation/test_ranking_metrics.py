import doctest
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_spark.evaluation import ranking_metrics
from recsys_spark.evaluation.ranking_metrics import METRICS, mrr_at_k, ndcg_at_k, recall_at_k

LISTS = st.lists(st.integers(1, 30), unique=True, max_size=20)
RELEVANT = st.sets(st.integers(1, 30), min_size=1)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(ranking_metrics).failed == 0


def test_recall_counts_relevant_items_in_the_top_k():
    assert recall_at_k(ranked=[3, 1, 2], relevant={1, 5}, k=2) == 1 / 2  # one of two, worked by hand


def test_ndcg_compares_with_the_list_that_begins_with_the_relevant_items():
    found = 1 / log2(3) + 1 / log2(4)  # ranks 2 and 3
    assert ndcg_at_k([9, 1, 5], {1, 5}, k=3) == pytest.approx(found / (1 + 1 / log2(3)), abs=1e-15)


def test_mrr_is_zero_beyond_k():
    assert (mrr_at_k([7, 8, 9], 9, k=3), mrr_at_k([7, 8, 9], 9, k=2)) == (1 / 3, 0)


def test_there_is_one_metric_of_every_kind_section_and_k():
    assert len({metric.column for metric in METRICS}) == len(METRICS) == (3 + 2 + 2) * 5


@given(LISTS, RELEVANT, st.integers(1, 30))
def test_metrics_stay_between_zero_and_one_and_grow_with_k_or_with_the_list(ranked, relevant, k):
    assert 0 <= recall_at_k(ranked, relevant, k) <= recall_at_k(ranked, relevant, k + 1) <= 1
    assert 0 <= ndcg_at_k(ranked, relevant, k) <= 1 + 1e-12
    best = [*sorted(relevant), *(item for item in ranked if item not in relevant)]
    assert ndcg_at_k(best, relevant, k) == pytest.approx(1, abs=1e-12)
