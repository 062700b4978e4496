"""From candidates to shards of features: each task meets a chunk of queries with its customer's events, and reads the
candidates of these from the part file that the same chunks left (`candidates.chunks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys_spark.arrays import Ints, find, pair_keys
from recsys_spark.baselines.query_batches import QueryBatch, query_batches
from recsys_spark.candidates.chunks import PartReader
from recsys_spark.candidates.merge import CandidateRows
from recsys_spark.contracts.candidate_schemas import RANKER_FEATS
from recsys_spark.contracts.features import FEATURES
from recsys_spark.features.build import FeatureBuilder
from recsys_spark.part_files import map_batches, part_names, part_of, read_part

_QUERIES_AT_A_TIME = 512  # bounds the memory of their candidates' features


def shard_features(asked: DataFrame, builder: FeatureBuilder, folder: str, forced: str | None = None) -> DataFrame:
    """RANKER_FEATS of the candidates of queries, in a part file per part file of these.

    asked: of `in_chunks`, with quantities and in as many parts as the candidates; a query's features use events before
    it. folder: of CANDIDATES, or of CANDIDATES_FORCED, that hold all of the queries. forced: the folder of
    CANDIDATES_FORCED whose items are put behind the candidates of the same query.
    """
    offered, behind = (folder, part_names(folder)), (forced, part_names(forced)) if forced else None
    return map_batches(asked, ShardKernel(builder, offered, behind), RANKER_FEATS)


Parts = tuple[str, tuple[str, ...]]  # a folder and the names of its part files


@dataclass(frozen=True)
class ShardKernel:
    """From rows of `in_chunks` to RANKER_FEATS."""

    builder: FeatureBuilder
    offered: Parts
    forced: Parts | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        columns, (folder, names) = candidate_columns(self.builder.sources), self.offered
        reader = PartReader(folder, part_of(names), columns)
        forced = Forced(self.forced[0], part_of(self.forced[1]), columns) if self.forced else None
        for arrow in batches:
            for batch in small_batches(arrow):
                queries = reader.rows(batch.query_ids)
                candidates = candidates_in(queries, self.builder.sources)
                if forced:
                    candidates = forced.behind(candidates, batch.query_ids, self.builder.sources)
                positives = pair_keys(_row_numbers(queries, "positives"), _values(queries, "positives"))
                yield self._rows(batch, candidates, positives)

    def _rows(self, batch: QueryBatch, candidates: CandidateRows, positives: Ints) -> pa.RecordBatch:
        features = self.builder.columns(batch, candidates)
        is_repeat = find(batch.purchases.keys, candidates.keys)[1]
        columns = {
            "query_id": pa.array(batch.query_ids[candidates.rows]),
            "user_idx": pa.array(batch.users[candidates.rows]),
            "item_idx": pa.array(candidates.items),
            "label": pa.array(find(positives, candidates.keys)[1].astype(np.float32)),
            "is_repeat": pa.array(is_repeat),
            **{feature.name: pa.array(features[feature.name]) for feature in FEATURES},
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in RANKER_FEATS.names], names=RANKER_FEATS.names)


class Forced:
    """The part file of CANDIDATES_FORCED of a task: few items of some queries, held as a whole."""

    def __init__(self, folder: str, name: str | None, columns: list[str]) -> None:
        batches = list(read_part(folder, name, columns)) if name else []
        self._rows = pa.Table.from_batches(batches).combine_chunks().to_batches()[0] if batches else None

    def behind(self, candidates: CandidateRows, query_ids: Ints, sources: tuple[str, ...]) -> CandidateRows:
        """The candidates of a batch with the forced ones behind those of the same query."""
        if self._rows is None:
            return candidates
        here = np.flatnonzero(np.isin(self._rows.column("query_id").to_numpy(), query_ids))
        rows = self._rows.take(pa.array(here))
        added = candidates_in(rows, sources)
        order = np.argsort(query_ids)
        at = order[np.searchsorted(query_ids, rows.column("query_id").to_numpy(), sorter=order)]
        together = np.concatenate([candidates.rows, at[added.rows]])
        place = np.argsort(together, kind="stable")
        items, ranks, scores = (
            np.concatenate([getattr(candidates, name), getattr(added, name)])[place]
            for name in ("items", "ranks", "scores")
        )
        return CandidateRows(together[place], items, ranks, scores)


def candidate_columns(sources: tuple[str, ...]) -> list[str]:
    """What is read of CANDIDATES."""
    lists = [f"{kind}_{source}" for kind in ("rank", "score") for source in sources]
    return ["query_id", "positives", "items", *lists]


def small_batches(arrow: pa.RecordBatch) -> Iterator[QueryBatch]:
    """The queries of a batch of rows of `in_chunks`, few at a time."""
    for whole in query_batches(arrow):
        for first in range(0, len(whole), _QUERIES_AT_A_TIME):
            yield whole.part(slice(first, first + _QUERIES_AT_A_TIME))


def candidates_in(queries: pa.RecordBatch, sources: tuple[str, ...]) -> CandidateRows:
    """The candidates of rows of CANDIDATES, in their order there."""
    ranks = [_values(queries, f"rank_{source}") for source in sources]
    scores = [_values(queries, f"score_{source}") for source in sources]
    items = _values(queries, "items").astype(np.int64)
    return CandidateRows(_row_numbers(queries, "items"), items, np.stack(ranks, axis=1), np.stack(scores, axis=1))


def _values(batch: pa.RecordBatch, name: str) -> np.ndarray:
    return batch.column(name).flatten().to_numpy(zero_copy_only=False)


def _row_numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    sizes = np.diff(batch.column(name).offsets.to_numpy())
    return np.repeat(np.arange(batch.num_rows, dtype=np.int64), sizes)
