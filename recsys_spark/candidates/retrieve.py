"""Candidates of queries inside Arrow tasks: every source is asked, and their proposals are merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from recsys_spark.arrays import Ints, find, items_of_keys, pair_keys, rows_of_keys
from recsys_spark.baselines.query_batches import QueryBatch, first_not_before, query_batches
from recsys_spark.baselines.ranking import eligible_only
from recsys_spark.candidates.merge import CandidateRows, SourceRanking, candidate_rows, rank_source, union
from recsys_spark.candidates.sources import Source
from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.candidate_schemas import CANDIDATES
from recsys_spark.sequences.windows import window_values

OFFERED, FORCED = 0, 1  # the tables that CandidatesKernel yields
_TIMESTAMP = pa.timestamp("us", tz="UTC")
_QUERIES_AT_A_TIME = 2048  # bounds the memory of all sources' scores


@dataclass(frozen=True)
class Retriever:
    """Asks all sources and merges what they propose; travels to the tasks as small values and paths."""

    sources: tuple[Source, ...]
    max_per_query: int
    repeat_share: float

    def propose(self, batch: QueryBatch) -> CandidateRows:
        """At most max_per_query candidates of each query, best first."""
        return self._union(self.listed(batch))

    def listed(self, batch: QueryBatch) -> list[SourceRanking]:
        """The list of each source, in the order of the sources.

        A list reaches as deep as a query has places for candidates: beyond its quota a source still says how it ranks
        what others propose.
        """
        depths = [max(source.quota, self.max_per_query) for source in self.sources]
        asked = {depth: replace(batch, depth=depth) for depth in depths}  # shared, as are what models ask of it
        found = []
        for source, depth in zip(self.sources, depths, strict=True):
            of_source = asked[depth]
            eligible = eligible_only(source.model.score(of_source), source.model.popular().eligible)
            found.append(rank_source(eligible, of_source.purchases.keys, source.proposes_seen, depth))
        return found

    def propose_and_force(self, batch: QueryBatch, positives: Ints) -> tuple[CandidateRows, CandidateRows]:
        """The candidates, and the positives that are not among them. positives: ascending keys of their pairs."""
        listed = self.listed(batch)
        candidates = self._union(listed)
        missing = positives[~find(np.sort(candidates.keys), positives)[1]]
        return candidates, candidate_rows(missing, listed)

    def _union(self, listed: Sequence[SourceRanking]) -> CandidateRows:
        quotas = np.array([source.quota for source in self.sources])
        are_repeats = np.array([source.proposes_seen for source in self.sources])
        return union(listed, quotas, are_repeats, self.max_per_query, self.repeat_share)


@dataclass(frozen=True)
class CandidatesKernel:
    """From frames of `with_queries` to CANDIDATES and CANDIDATES_FORCED, in one pass."""

    retriever: Retriever
    hist_max: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        for arrow in batches:
            for whole in query_batches(arrow):
                for first in range(0, len(whole), _QUERIES_AT_A_TIME):
                    batch = whole.part(slice(first, first + _QUERIES_AT_A_TIME))
                    positives = positive_keys(batch)
                    candidates, forced = self.retriever.propose_and_force(batch, positives)
                    customer_ids = arrow.column("customer_id").take(pa.array(batch.customers))
                    asked = self._asked(batch, customer_ids, positives)
                    yield OFFERED, self._rows(asked, candidates, len(batch))
                    has_forced = np.unique(forced.rows)
                    yield FORCED, self._rows(asked, forced, len(batch)).take(pa.array(has_forced))

    def _asked(self, batch: QueryBatch, customer_ids: pa.Array, positives: Ints) -> dict[str, pa.Array]:
        history, _, _ = window_values(batch.events, batch.start, batch.end, batch.micros, self.hist_max)
        rows, items = rows_of_keys(positives), items_of_keys(positives)
        return {
            "query_id": pa.array(batch.query_ids),
            "user_idx": pa.array(batch.users),
            "customer_id": customer_ids,
            "event_time": pa.array(batch.micros).cast(_TIMESTAMP),
            "history": as_lists(np.arange(len(batch) + 1) * self.hist_max, history.ravel(), pa.int32()),
            "positives": as_lists(bounds_of(rows, len(batch)), items, pa.int32()),
        }

    def _rows(self, asked: dict[str, pa.Array], candidates: CandidateRows, num_queries: int) -> pa.RecordBatch:
        bounds = bounds_of(candidates.rows, num_queries)
        columns = {**asked, "items": as_lists(bounds, candidates.items, pa.int32())}
        place = {source.name: number for number, source in enumerate(self.retriever.sources)}
        nothing = np.zeros(len(candidates.rows), dtype=np.int32)
        for name in SOURCES:
            ranks = candidates.ranks[:, place[name]] if name in place else nothing
            scores = candidates.scores[:, place[name]] if name in place else nothing
            columns[f"rank_{name}"] = as_lists(bounds, ranks, pa.int32())
            columns[f"score_{name}"] = as_lists(bounds, scores, pa.float32())
        return pa.RecordBatch.from_arrays([columns[name] for name in CANDIDATES.names], names=CANDIDATES.names)


def positive_keys(batch: QueryBatch) -> Ints:
    """Ascending keys of what is bought at the very time of each query, whole baskets."""
    end = first_not_before(batch.events, batch.customers, batch.micros + 1)
    at_query = replace(batch, start=batch.end, end=end)
    rows, positions = at_query.earlier()
    return np.unique(pair_keys(rows, batch.events.items[positions]))


def bounds_of(rows: Ints, num_queries: int) -> Ints:
    """Where the pairs of each query begin, and the end of the last, (num_queries + 1,). rows: ascending."""
    return np.searchsorted(rows, np.arange(num_queries + 1))


def as_lists(bounds: Ints, values: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    """Values as one list per pair of neighbouring bounds."""
    return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(values).cast(kind))
