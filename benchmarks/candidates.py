"""How much of what is bought the union of sources holds, against each source alone, and what each adds to the others.

Over a sample of queries of a finished run: `--config` as it ran, further runs with their own call and `--as NAME`.
All positives count, retrieved or not. The union of so many candidates is compared with as many of one source: where the
quotas leave places empty, their sources fill them. Beside it stands the union as the job builds it with so many places
per query (`candidates.max_per_query`); with more places than the config has, quotas grow as the places do. Under
first_purchase, what was bought before is masked, as in evaluation, so both the union and a source alone stand with
their best items of the others. `--tune` looks for better quotas and a better repeat_share on val first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.harness import Figure, figure, report
from benchmarks.source_ranks import source_ranks
from recsys_spark.arrays import Ints
from recsys_spark.candidates.merge import fused_order
from recsys_spark.command_line import common_arguments, config_from
from recsys_spark.contracts.candidate_config import REPEAT_SOURCES, CandidatesConfig, is_proposed
from recsys_spark.contracts.columns import ALL_ITEMS, LIST_PROTOCOLS

SIZES, JUDGED_AT = (100, 200, 400), 200
FACTORS = (0.0, 0.5, 0.7, 1.4, 2.0)  # that a quota is tried with
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)  # that are tried as repeat_share
ROUNDS = 3


@dataclass(frozen=True)
class Union:
    """How sources are united, as in the config. quotas: of the sources that are switched on, by name.

    is_filled: whether places that quotas leave empty are filled by what the same sources rank next.
    """

    quotas: Mapping[str, int]
    repeat_share: float
    max_per_query: int
    is_filled: bool = False

    @classmethod
    def of(cls, config: CandidatesConfig) -> Union:
        return cls(asdict(config.quotas), config.repeat_share, config.max_per_query)

    def without(self, source: str) -> Union:
        return replace(self, quotas={**self.quotas, source: 0})

    def of_places(self, sources: Sequence[str], places: int) -> Ints:
        """The quota of each source where a query has so many places, (S,)."""
        growth = max(places / self.max_per_query, 1.0)
        return np.array([round(self.quotas.get(source, 0) * growth) for source in sources])


def alone(source: str) -> Union:
    """A source by itself, which proposes as many items as there are places."""
    return Union({source: 1}, 0.5, 1)


@dataclass(frozen=True)
class Ranks:
    """The table of `source_ranks` as arrays; its depth is at least the largest quota that is asked for."""

    table: pd.DataFrame

    @cached_property
    def sources(self) -> list[str]:
        return [name for name in self.table.columns if name not in ("query_id", "item_idx", "is_positive", "is_repeat")]

    def recall(self, union: Union, protocol: str, sizes: tuple[int, ...] = SIZES) -> dict[int, float]:
        """Share of the positives among the candidates of the union, by places per query."""
        return {size: self._recall(union, protocol, size) for size in sizes}

    def _recall(self, union: Union, protocol: str, places: int) -> float:
        counted, quotas = self._counted[protocol], union.of_places(self.sources, places)
        # As `Retriever.listed`: beyond its quota a source ranks as deep as there are places.
        reach = np.maximum(quotas, places)
        is_listed = (quotas > 0) & (counted["ranks"] <= reach)
        ranks = np.where(is_listed, counted["ranks"], 0)
        offered = is_proposed(ranks, reach if union.is_filled else quotas).any(axis=1)
        rows, is_positive = counted["row"][offered], counted["is_positive"][offered]
        order = fused_order(rows, ranks[offered], counted["is_repeat"][offered], quotas, union.repeat_share)
        is_kept = np.arange(len(order)) - np.searchsorted(rows, rows) < places
        return float(is_positive[order[is_kept]].sum() / counted["is_positive"].sum())

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


def tuned(ranks: Ranks, union: Union) -> Union:
    """Quotas by coordinate search: of what proposes repeats, and repeat_share, for all_items; of all others for
    first_purchase.
    """
    best, most = union, min(union.max_per_query, max(SIZES))  # grown with the places, it stays within known ranks
    for protocol in LIST_PROTOCOLS:
        of_repeats = protocol == ALL_ITEMS
        reached = ranks.recall(best, protocol, (JUDGED_AT,))[JUDGED_AT]
        for name in [source for source in ranks.sources if (source in REPEAT_SOURCES) == of_repeats] * ROUNDS:
            quota = max(best.quotas.get(name, 0), 1)
            tried = [
                replace(best, quotas={**best.quotas, name: min(round(quota * factor), most)}) for factor in FACTORS
            ]
            tried += [replace(best, repeat_share=share) for share in SHARES if of_repeats]
            for each in tried:
                value = ranks.recall(each, protocol, (JUDGED_AT,))[JUDGED_AT]
                if value > reached:
                    best, reached = each, value
    return best


def figures_of(ranks: Ranks, union: Union, run: str) -> list[Figure]:
    """One figure for each protocol: the union over the best source, both of JUDGED_AT candidates."""
    figures = []
    for protocol in LIST_PROTOCOLS:
        filled, as_built = (ranks.recall(each, protocol) for each in (replace(union, is_filled=True), union))
        of_one = {name: ranks.recall(alone(name), protocol) for name in ranks.sources}
        best = max(of_one, key=lambda name: of_one[name][JUDGED_AT])
        less = {name: ranks.recall(union.without(name), protocol, (JUDGED_AT,))[JUDGED_AT] for name in ranks.sources}
        detail = {
            "best_source": best,
            "union": _rounded(filled),
            "union_as_built": _rounded(as_built),
            "alone": {name: _rounded(each) for name, each in of_one.items()},
            "contribution": {name: round(as_built[JUDGED_AT] - each, 5) for name, each in less.items()},
            "quotas": dict(union.quotas),
            "repeat_share": union.repeat_share,
        }
        value = filled[JUDGED_AT] / of_one[best][JUDGED_AT]
        figures.append(figure(f"candidates.union_over_best_source.{protocol}.{run}", value, ">= 1.05", **detail))
    return figures


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
    union = Union.of(config.candidates)
    if arguments.tune:
        union = tuned(Ranks(source_ranks(config, "val", arguments.queries, max(SIZES))), union)
    test = Ranks(source_ranks(config, "test", arguments.queries, max(SIZES)))
    report(f"candidates_{arguments.run}", figures_of(test, union, arguments.run))


if __name__ == "__main__":
    main()
