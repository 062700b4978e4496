"""How much of what is bought the union of sources holds, against each source alone, and what each adds to the others.

Over a sample of queries of a finished run: `--config` as it ran, further runs with their own call and `--as NAME`.
All positives count, retrieved or not. Under first_purchase, what was bought before is masked, as in evaluation, so both
the union and a source alone stand with their best items of the others. `--tune` looks for better quotas on val first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.harness import Figure, figure, report
from benchmarks.source_ranks import source_ranks
from recsys_spark.candidates.merge import fused_order
from recsys_spark.command_line import common_arguments, config_from
from recsys_spark.contracts.candidate_config import REPEAT_SOURCES
from recsys_spark.contracts.columns import LIST_PROTOCOLS

SIZES, JUDGED_AT = (100, 200, 400), 200
FACTORS = (0.0, 0.5, 0.7, 1.4, 2.0)  # that a quota is tried with
ROUNDS = 3

Quotas = Mapping[str, float]


@dataclass(frozen=True)
class Ranks:
    """The table of `source_ranks` as arrays. repeat_share: as in the config."""

    table: pd.DataFrame
    repeat_share: float

    @cached_property
    def sources(self) -> list[str]:
        return [name for name in self.table.columns if name not in ("query_id", "item_idx", "is_positive", "is_repeat")]

    def recall(self, quotas: Quotas, protocol: str, sizes: tuple[int, ...] = SIZES) -> dict[int, float]:
        """Share of the positives among the first so many items of the union."""
        counted = self._counted[protocol]
        weights = np.array([quotas.get(source, 0.0) for source in self.sources])
        ranks = np.where(weights > 0, counted["ranks"], 0)
        offered = (ranks > 0).any(axis=1)
        rows, is_positive = counted["row"][offered], counted["is_positive"][offered]
        order = fused_order(rows, ranks[offered], counted["is_repeat"][offered], weights, self.repeat_share)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order)) - np.searchsorted(rows, rows)
        num_positives = counted["is_positive"].sum()
        return {size: float((is_positive & (place < size)).sum() / num_positives) for size in sizes}

    @cached_property
    def _counted(self) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """By protocol the rows that it counts, query by query."""
        ordered = self.table.sort_values(["query_id", "item_idx"], kind="stable")
        found = {}
        for protocol in LIST_PROTOCOLS:
            kept = ordered if protocol == "all_items" else ordered[~ordered["is_repeat"]]
            found[protocol] = {
                "row": np.unique(kept["query_id"].to_numpy(), return_inverse=True)[1],
                "is_positive": kept["is_positive"].to_numpy(),
                "is_repeat": kept["is_repeat"].to_numpy(),
                "ranks": kept[self.sources].to_numpy(),
            }
        return found


def tuned(ranks: Ranks, quotas: Quotas) -> dict[str, float]:
    """Quotas by coordinate search: of what proposes repeats for all_items, of all others for first_purchase."""
    found = dict(quotas)
    for protocol in LIST_PROTOCOLS:
        kind = [name for name in ranks.sources if (name in REPEAT_SOURCES) == (protocol == "all_items")]
        reached = ranks.recall(found, protocol, (JUDGED_AT,))[JUDGED_AT]
        for name in kind * ROUNDS:
            for factor in FACTORS:
                tried = {**found, name: max(found.get(name, 0.0), 1.0) * factor}
                value = ranks.recall(tried, protocol, (JUDGED_AT,))[JUDGED_AT]
                if value > reached:
                    found, reached = tried, value
    return found


def figures_of(ranks: Ranks, quotas: Quotas, run: str) -> list[Figure]:
    """One figure for each protocol: the union over the best source, both of JUDGED_AT candidates."""
    found = []
    for protocol in LIST_PROTOCOLS:
        union = ranks.recall(quotas, protocol)
        alone = {name: ranks.recall({name: 1.0}, protocol) for name in ranks.sources}
        best = max(alone, key=lambda name: alone[name][JUDGED_AT])
        left_out = {
            name: round(union[JUDGED_AT] - ranks.recall({**quotas, name: 0.0}, protocol, (JUDGED_AT,))[JUDGED_AT], 5)
            for name in ranks.sources
        }
        detail = {"union": _rounded(union), "alone": {name: _rounded(each) for name, each in alone.items()}}
        value = union[JUDGED_AT] / alone[best][JUDGED_AT]
        name = f"candidates.union_over_best_source.{protocol}.{run}"
        found.append(
            figure(name, value, ">= 1.05", best_source=best, **detail, contribution=left_out, quotas=dict(quotas))
        )
    return found


def _rounded(recall: Mapping[int, float]) -> dict[int, float]:
    return {size: round(value, 5) for size, value in recall.items()}


def main() -> None:
    """Score the run that the config names."""
    parser = common_arguments(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--as", dest="run", default="complete_journey", help="name of the run in the figures")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--tune", action="store_true", help="also search for quotas on val")
    arguments = parser.parse_args()
    config = config_from(arguments)
    quotas: Quotas = {name: float(quota) for name, quota in asdict(config.candidates.quotas).items()}
    repeat_share = config.candidates.repeat_share
    if arguments.tune:
        quotas = tuned(Ranks(source_ranks(config, "val", arguments.queries, max(SIZES)), repeat_share), quotas)
    test = Ranks(source_ranks(config, "test", arguments.queries, max(SIZES)), repeat_share)
    report(f"candidates_{arguments.run}", figures_of(test, quotas, arguments.run))


if __name__ == "__main__":
    main()
