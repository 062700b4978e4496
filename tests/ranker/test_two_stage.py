from __future__ import annotations

import numpy as np

from recsys_spark.candidates.retrieve import Retriever
from recsys_spark.candidates.sources import Source
from recsys_spark.ranker.two_stage import TwoStageModel
from tests.support.models import GivenScores


def test_a_source_is_told_of_what_it_proposed_and_not_of_what_it_ranks_beyond_its_quota():
    nothing = GivenScores((), ())
    sources = (Source("own", nothing, 2, True), Source("ease", nothing, 3, False))
    model = TwoStageModel(nothing, Retriever(sources, 10, 0.5), nothing, nothing)
    ranks = np.array([[1, 0], [2, 4], [3, 3], [0, 1]], dtype=np.int32)
    told = model.ranks_of_proposers(ranks)
    assert {source: own.tolist() for source, own in told.items()} == {"own": [1, 2, 0, 0], "ease": [0, 0, 3, 1]}
