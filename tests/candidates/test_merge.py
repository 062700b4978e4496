"""The union of sources, worked by hand."""

import numpy as np
import pytest

from recsys_spark.arrays import pair_keys
from recsys_spark.baselines.ranking import Scored
from recsys_spark.candidates.merge import fused_order, rank_source, union


def scored(*pairs):
    rows, items, scores = zip(*pairs, strict=True)
    return Scored(np.array(rows), np.array(items), np.array(scores, dtype=float))


SEEN = pair_keys(np.array([0, 0, 1]), np.array([4, 7, 2]))


def told(listed):
    rows, items = listed.keys >> 32, listed.keys & 0xFFFFFFFF
    return [(int(row), int(item), int(rank)) for row, item, rank in zip(rows, items, listed.ranks, strict=True)]


def test_a_source_ranks_what_it_may_propose_and_keeps_the_scores_of_the_rest():
    found = rank_source(scored((0, 9, 0.5), (0, 4, 0.9), (0, 3, 0.5), (1, 2, 0.1), (1, 8, 0.2)), SEEN, False, 9)
    assert told(found) == [(0, 3, 1), (0, 4, 0), (0, 9, 2), (1, 2, 0), (1, 8, 1)]  # of a tie the least item first
    assert found.scores.tolist() == [0.5, 0.9, 0.5, 0.1, 0.2]


def test_a_source_of_repeats_ranks_nothing_else():
    found = rank_source(scored((0, 9, 0.5), (0, 4, 0.1), (0, 7, 0.2), (1, 8, 0.3)), SEEN, True, 9)
    assert told(found) == [(0, 4, 2), (0, 7, 1), (0, 9, 0), (1, 8, 0)]


def test_a_list_ends_with_the_last_item_that_may_be_proposed_down_to_its_depth():
    pairs = ((0, 9, 0.5), (0, 4, 0.9), (0, 3, 0.5), (0, 7, 0.4), (0, 5, 0.1), (1, 2, 0.1), (1, 8, 0.2), (1, 9, 0.1))
    found = rank_source(scored(*pairs), SEEN, False, depth=2)
    # 7 was bought before and stands behind the second of the others, 5 is the third of them.
    assert told(found) == [(0, 3, 1), (0, 4, 0), (0, 9, 2), (1, 2, 0), (1, 8, 1), (1, 9, 2)]
    assert found.scores.tolist() == [0.5, 0.9, 0.5, 0.1, 0.2, 0.1]


def test_what_several_sources_propose_goes_first_and_both_kinds_share_the_places():
    repeats = rank_source(scored((0, 4, 2.0), (0, 7, 1.0), (1, 2, 1.0)), SEEN, True, 9)
    others = rank_source(scored((0, 1, 9.0), (0, 5, 8.0), (0, 6, 7.0), (0, 4, 6.0), (1, 3, 1.0)), SEEN, False, 9)
    more = rank_source(scored((0, 5, 3.0), (0, 6, 2.0)), SEEN, False, 9)
    quotas, are_repeats = np.array([4, 2, 1]), np.array([True, False, False])
    candidates = union([repeats, others, more], quotas, are_repeats, max_per_query=4, repeat_share=0.5)
    # Never bought: 5 scores 2/62 + 1/61, 1 scores 2/61; 6 is beyond both quotas. Bought before: 4, then 7.
    assert candidates.rows.tolist() == [0, 0, 0, 0, 1, 1]
    assert candidates.items.tolist() == [4, 5, 1, 7, 2, 3]
    assert candidates.ranks.tolist() == [[1, 0, 0], [0, 2, 1], [0, 1, 0], [2, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert candidates.scores.tolist() == [[2, 6, 0], [0, 8, 3], [0, 9, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(("share", "kinds"), [(0.75, "rrnrrrnr"), (0.25, "nnrnnnrn")])
def test_repeats_take_their_share_of_any_first_places(share, kinds):
    is_repeat = np.arange(20) % 2 == 0
    ranks = np.arange(1, 21, dtype=np.int32)[:, None]
    # At 0.25 repeats are due at places 4, 8, ..., the others at 4/3, 8/3, 4; of a tie the first pair goes first.
    order = fused_order(np.zeros(20, dtype=np.int64), ranks, is_repeat, np.array([10]), share)
    assert "".join("rn"[int(not is_repeat[pair])] for pair in order[:8]) == kinds
    assert order[is_repeat[order]].tolist() == sorted(order[is_repeat[order]].tolist())


def test_a_kind_that_runs_out_leaves_its_places_to_the_other():
    ranks = np.array([[1], [2], [3], [4]], dtype=np.int32)
    is_repeat = np.array([True, False, False, False])
    assert fused_order(np.zeros(4, dtype=np.int64), ranks, is_repeat, np.array([9]), 0.9).tolist() == [0, 1, 2, 3]


def test_a_batch_without_proposals_has_no_candidates():
    nothing = rank_source(Scored(np.zeros(0, int), np.zeros(0, int), np.zeros(0)), SEEN, False, 9)
    assert union([nothing, nothing], np.array([3, 3]), np.array([True, False]), 5, 0.5).ranks.shape == (0, 2)
