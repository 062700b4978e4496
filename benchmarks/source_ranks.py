"""What every source of candidates says of some queries of a finished run: one row per query and item, with ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.candidates import STAGE
from recsys_spark.arrays import find
from recsys_spark.baselines.query_batches import query_batches, spread, with_queries
from recsys_spark.baselines.registry import ModelSettings
from recsys_spark.candidates.fitted_sources import fitted_retriever
from recsys_spark.candidates.merge import candidate_rows
from recsys_spark.candidates.retrieve import Retriever, positive_keys
from recsys_spark.command_line import open_storage
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import FIT_OF_SPLIT
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.reading import read_purchases
from recsys_spark.stage import StageIO

_QUERIES_AT_A_TIME = 256


def source_ranks(config: PipelineConfig, split: str, num_queries: int, depth: int) -> pd.DataFrame:
    """query_id, item_idx, is_positive, is_repeat, and of each source its rank up to `depth`, 0 beyond.

    The queries are chosen by hash. Every positive has a row, proposed or not.
    """
    io = StageIO(STAGE, open_storage(config), config)
    interactions, item_ids, customer_ids = read_purchases(io)
    minutes, places = config.sequences.merge_minutes, config.retriever.uses_places
    histories = customer_histories(interactions, item_ids, customer_ids, minutes, with_places=places)
    queries = io.read(artifacts.QUERIES, split=split).orderBy(F.xxhash64("query_id"), "query_id").limit(num_queries)
    settings = ModelSettings(config.baselines, config.knn, config.ease, config.tifu, config.nmf)
    asked = spread(with_queries(histories, queries))
    retriever = fitted_retriever(io, settings, config.candidates, config.retriever.towers, FIT_OF_SPLIT[split])
    deep = replace(retriever, sources=tuple(replace(source, quota=depth) for source in retriever.sources))
    return ranked(asked, deep, depth).toPandas()


def ranked(asked: DataFrame, retriever: Retriever, depth: int) -> DataFrame:
    ranks = [f"{source.name} int" for source in retriever.sources]
    schema = ", ".join(["query_id bigint, item_idx bigint, is_positive boolean, is_repeat boolean", *ranks])
    return asked.mapInArrow(partial(_kernel, retriever=retriever, depth=depth), schema)


def _kernel(batches: Iterable[pa.RecordBatch], retriever: Retriever, depth: int) -> Iterator[pa.RecordBatch]:
    for arrow in batches:
        for whole in query_batches(arrow):
            for first in range(0, len(whole), _QUERIES_AT_A_TIME):
                batch = whole.part(slice(first, first + _QUERIES_AT_A_TIME))
                positives, seen, listed = positive_keys(batch), batch.purchases.keys, retriever.listed(batch)
                near = [one.keys[(one.ranks > 0) & (one.ranks <= depth)] for one in listed]
                candidates = candidate_rows(np.unique(np.concatenate([positives, *near])), listed)
                ranks = np.where(candidates.ranks <= depth, candidates.ranks, 0)
                columns = {
                    "query_id": batch.query_ids[candidates.rows],
                    "item_idx": candidates.items,
                    "is_positive": find(positives, candidates.keys)[1],
                    "is_repeat": find(seen, candidates.keys)[1],
                    **{source.name: ranks[:, number] for number, source in enumerate(retriever.sources)},
                }
                yield pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})
