"""The towers of finished runs (--run ROOT, more of them for other seeds) against popularity, ALS and BPR on test.

ALS and BPR are those of `implicit`, fitted to the run's own interactions up to the cutoff, their settings chosen on
2,000 queries of val by Recall@20 of the protocol. A query is ranked from its customer's factors; who has none gets
popular items. All are scored on the same positives; intervals are paired, by Poisson bootstrap over customers.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from benchmarks.harness import Figure, figure, report
from recsys_spark.command_line import storage_of
from recsys_spark.contracts.artifacts import SPLIT_OF_FIT
from recsys_spark.contracts.columns import LIST_LENGTH, LIST_PROTOCOLS

REPLICATES, THREADS, K, TUNED_ON = 1000, 2, 20, 2000
GRIDS: dict[str, list[dict[str, Any]]] = {
    "als": [{"factors": f, "regularization": r, "alpha": a} for f, r, a in product((64, 128), (0.01, 0.1), (1, 10))],
    "bpr": [{"factors": f, "learning_rate": r} for f, r in product((64, 128), (0.01, 0.05))],
}
TOWERS = dict(zip(LIST_PROTOCOLS, (["two_tower_all"], ["two_tower_first"]), strict=True))
Ranks = npt.NDArray[np.float64]  # of positives, infinite where missed


@dataclass(frozen=True)
class Split:
    """One split of a run with what models of its fit may know."""

    root: Path
    fit: str
    num_queries: int | None = None  # drawn of the split's; all of them without it

    def table(self, name: str, *columns: str) -> pd.DataFrame:
        return pd.read_parquet(self.root / f"{name}.parquet", columns=list(columns) or None)

    @cached_property
    def positives(self) -> pd.DataFrame:
        """query_id, user_idx, pos_item_idx, is_repeat of the split, ordered by the first two and the item."""
        found = self.table(f"sequences_{SPLIT_OF_FIT[self.fit]}", "query_id", "user_idx", "pos_item_idx", "is_repeat")
        if self.num_queries is not None:
            queries = found["query_id"].drop_duplicates().sort_values()
            drawn = queries.sample(min(self.num_queries, len(queries)), random_state=1)
            found = found[found["query_id"].isin(drawn)]
        return found.sort_values(["query_id", "pos_item_idx"], ignore_index=True)

    @cached_property
    def counts(self) -> sparse.csr_matrix:
        """Purchases up to the cutoff by user_idx and item_idx."""
        known = self._events[self._events["is_known"]]
        ones = np.ones(len(known), dtype=np.float32)
        size = (int(self._events["user_idx"].max()) + 1, int(self._events["item_idx"].max()) + 1)
        return sparse.csr_matrix((ones, (known["user_idx"], known["item_idx"])), shape=size)

    @cached_property
    def _events(self) -> pd.DataFrame:
        lines = self.table("interactions_clean", "customer_id", "stock_code", "invoice_date")
        lines = lines.merge(self.table("item_id_map"), on="stock_code").merge(
            self.table("customer_id_map"), on="customer_id"
        )
        cutoff = pd.Timestamp(pd.read_json(self.root / "split_cutoffs.json", typ="series")[f"{self.fit}_end"])
        times = lines["invoice_date"].dt.tz_localize(None)
        return lines.assign(is_known=times <= cutoff, time=times)[["user_idx", "item_idx", "is_known", "time"]]

    def ranks_of(self, model: str, protocol: str) -> Ranks:
        """Published ranks of the positives, in their order."""
        found = self.table(f"positive_ranks_{model}_{SPLIT_OF_FIT[self.fit]}")
        found = found[found["protocol"] == protocol].sort_values(["query_id", "pos_item_idx"])
        return found["rank"].fillna(np.inf).to_numpy(dtype=np.float64)

    def counted(self, protocol: str) -> pd.DataFrame:
        """The positives that a protocol counts."""
        return self.positives if protocol == "all_items" else self.positives[~self.positives["is_repeat"]]

    @cached_property
    def bought_before(self) -> dict[int, npt.NDArray[np.int64]]:
        """Items that each query's customer bought before it."""
        queries = self.table(f"queries_{SPLIT_OF_FIT[self.fit]}", "query_id", "user_idx", "event_time")
        queries = queries.assign(time=queries["event_time"].dt.tz_localize(None)).sort_values(["user_idx", "time"])
        events = self._events.sort_values(["user_idx", "time"])
        starts = np.searchsorted(events["user_idx"], np.arange(int(events["user_idx"].max()) + 2))
        items, times = events["item_idx"].to_numpy(), events["time"].to_numpy()
        seen = {}
        for query, user, time in zip(queries["query_id"], queries["user_idx"], queries["time"].to_numpy(), strict=True):
            own = slice(starts[user], starts[user + 1])
            seen[query] = np.unique(items[own][: np.searchsorted(times[own], time)])
        return seen


def peer_ranks(split: Split, model: Any) -> dict[str, Ranks]:
    """Ranks of the positives among the eligible items by the factors of a fitted peer, for each protocol."""
    counts, positives, seen = split.counts, split.positives, split.bought_before
    eligible = np.asarray(counts.sum(axis=0)).ravel() > 0
    popularity = np.asarray(counts.sum(axis=0)).ravel()
    known_user = np.asarray(counts.sum(axis=1)).ravel() > 0
    found: dict[str, list[npt.NDArray[np.float64]]] = {protocol: [] for protocol in LIST_PROTOCOLS}
    for query, rows in positives.groupby("query_id", sort=True):
        user = int(rows["user_idx"].iloc[0])
        scores = model.item_factors @ model.user_factors[user] if known_user[user] else popularity.copy()
        scores = np.where(eligible, scores, -np.inf)
        wanted = rows["pos_item_idx"].to_numpy()
        found["all_items"].append(_ranks(scores, wanted))
        scores[seen[query]] = -np.inf
        found["first_purchase"].append(_ranks(scores, wanted[~rows["is_repeat"].to_numpy()]))
    return {protocol: np.concatenate(ranks) for protocol, ranks in found.items()}


def _ranks(scores: npt.NDArray[Any], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    top = np.argpartition(-scores, LIST_LENGTH)[:LIST_LENGTH]
    top = top[np.lexsort((top, -scores[top]))]
    place = {item: rank for rank, item in enumerate(top.tolist(), start=1)}
    return np.array([place.get(item, np.inf) if scores[item] > -np.inf else np.inf for item in wanted.tolist()])


def fit_peer(kind: str, split: Split, settings: Mapping[str, Any]) -> Any:
    """A peer fitted to the purchases up to the cutoff of the split's fit."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking

    warnings.filterwarnings("ignore", module="implicit")
    make = {"als": AlternatingLeastSquares, "bpr": BayesianPersonalizedRanking}[kind]
    model = make(**settings, num_threads=THREADS, random_state=1)
    model.fit(split.counts, show_progress=False)
    return model


def tuned_peers(root: Path) -> dict[str, dict[str, Ranks]]:
    """Test ranks of each peer by protocol, with the settings that were best on val."""
    val, test = Split(root, "train", TUNED_ON), Split(root, "val")
    found: dict[str, dict[str, Ranks]] = {}
    for kind, grid in GRIDS.items():
        tried = [peer_ranks(val, fit_peer(kind, val, settings)) for settings in grid]
        found[kind] = {}
        for protocol in LIST_PROTOCOLS:
            best = max(range(len(grid)), key=lambda place: float((tried[place][protocol] <= K).mean()))
            found[kind][protocol] = peer_ranks(test, fit_peer(kind, test, grid[best]))[protocol]
    return found


def paired(first: Ranks, second: Ranks, users: npt.NDArray[np.int64], k: int) -> tuple[float, list[float]]:
    """Difference of Recall@k per positive, first minus second, and its 95 % interval."""
    _, customer = np.unique(users, return_inverse=True)
    hits = np.bincount(customer, (first <= k).astype(float) - (second <= k).astype(float))
    sizes = np.bincount(customer).astype(float)
    weights = np.random.default_rng(1).poisson(1.0, (REPLICATES, len(sizes)))
    moved = (weights @ hits) / np.maximum(weights @ sizes, 1)
    return float(hits.sum() / sizes.sum()), [round(float(bound), 5) for bound in np.quantile(moved, (0.025, 0.975))]


def figures_of(
    name: str, roots: Sequence[Path], towers: Mapping[str, Sequence[str]], baselines: Sequence[str]
) -> list[Figure]:
    """One figure per tower, protocol, peer and cutoff: the lower end of the interval of what the tower gains over the
    peer, for the seed whose is lowest; estimates of all seeds in its detail.

    towers: models of the run by protocol.
    """
    peers, made = tuned_peers(roots[0]), []
    for protocol in LIST_PROTOCOLS:
        test = Split(roots[0], "val")
        users = test.counted(protocol)["user_idx"].to_numpy()
        others = {kind: ranks[protocol] for kind, ranks in peers.items()}
        others |= {model: test.ranks_of(model, protocol) for model in baselines}
        for tower in towers[protocol]:
            own = [Split(root, "val").ranks_of(tower, protocol) for root in roots]
            for other, ranks in others.items():
                for k in (K, LIST_LENGTH):
                    moved = [paired(one, ranks, users, k) for one in own]
                    estimate, interval = min(moved, key=lambda pair: pair[1][0])
                    detail: dict[str, Any] = {"estimate": estimate, "interval": interval}
                    detail["seeds"] = [round(one[0], 5) for one in moved]
                    detail |= {"tower": [float((one <= k).mean()) for one in own], "other": float((ranks <= k).mean())}
                    label = f"retriever.{name}.{tower}.{protocol}.recall@{k}_minus_{other}.lower_end"
                    made.append(figure(label, interval[0], "> 0", **detail))
    return made


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="append", required=True, metavar="ROOT", help="again for each further seed")
    parser.add_argument("--name", default="cj", help="of the data, for the figures")
    parser.add_argument(
        "--tower",
        action="append",
        default=[],
        help="models of the run, in both protocols; by default the one that each protocol is served by",
    )
    parser.add_argument("--baseline", action="append", default=["popularity"], help="models of the run to hold against")
    given = parser.parse_args()
    roots = [Path(storage_of(root).location) for root in given.run]
    towers = dict.fromkeys(LIST_PROTOCOLS, given.tower) if given.tower else TOWERS
    report(f"retriever_{given.name}", figures_of(given.name, roots, towers, given.baseline))


if __name__ == "__main__":
    main()
