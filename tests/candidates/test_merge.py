"""The union of sources, worked by hand."""

import numpy as np

from recsys_spark.baselines.ranking import Scored
from recsys_spark.candidates.merge import list_source, union
from recsys_spark.candidates.purchases import pair_keys


def scored(*pairs):
    rows, items, scores = zip(*pairs, strict=True)
    return Scored(np.array(rows), np.array(items), np.array(scores, dtype=float))


SEEN = pair_keys(np.array([0, 0, 1]), np.array([4, 7, 2]))


def told(listed):
    rows, items = listed.keys >> 32, listed.keys & 0xFFFFFFFF
    return [(int(row), int(item), int(rank)) for row, item, rank in zip(rows, items, listed.ranks, strict=True)]


def test_a_source_ranks_what_it_may_propose_and_keeps_the_scores_of_the_rest():
    found = list_source(scored((0, 9, 0.5), (0, 4, 0.9), (0, 3, 0.5), (1, 2, 0.1), (1, 8, 0.2)), SEEN, False)
    assert told(found) == [(0, 3, 1), (0, 4, 0), (0, 9, 2), (1, 2, 0), (1, 8, 1)]  # of a tie the least item first
    assert found.scores.tolist() == [0.5, 0.9, 0.5, 0.1, 0.2]


def test_a_source_of_repeats_ranks_nothing_else():
    found = list_source(scored((0, 9, 0.5), (0, 4, 0.1), (0, 7, 0.2), (1, 8, 0.3)), SEEN, True)
    assert told(found) == [(0, 4, 2), (0, 7, 1), (0, 9, 0), (1, 8, 0)]


def test_the_union_goes_by_the_least_rank_over_quota():
    repeats = list_source(scored((0, 4, 2.0), (0, 7, 1.0), (1, 2, 1.0)), SEEN, True)
    others = list_source(scored((0, 1, 9.0), (0, 5, 8.0), (0, 6, 7.0), (0, 4, 6.0), (1, 3, 1.0)), SEEN, False)
    offers = union([repeats, others], quotas=[4, 2], max_per_query=3)
    # Shares of query 0: 4 has 1/4, 7 and 1 have 2/4 and 1/2, 5 has 2/2; 6 is beyond the quota.
    assert offers.rows.tolist() == [0, 0, 0, 1, 1]
    assert offers.items.tolist() == [4, 1, 7, 2, 3]
    assert offers.ranks.tolist() == [[1, 0], [0, 1], [2, 0], [1, 0], [0, 1]]
    assert offers.scores.tolist() == [[2, 6], [0, 9], [1, 0], [1, 0], [0, 1]]


def test_a_batch_without_proposals_has_no_candidates():
    nothing = list_source(Scored(np.zeros(0, int), np.zeros(0, int), np.zeros(0)), SEEN, False)
    assert union([nothing, nothing], [3, 3], 5).ranks.shape == (0, 2)
