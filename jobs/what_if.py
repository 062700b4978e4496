"""What the rules of the business cost: the best model's test lists with and without them. Changes no artifact."""

from __future__ import annotations

import argparse
from functools import partial, reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.popularity import FittedPopularity
from recsys_spark.command_line import config_from, main_command, run_alone, working_arguments
from recsys_spark.contracts.artifacts import (
    EVALUATION,
    INGEST_REPORT,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    ITEMS_CLEAN,
    POSITIVE_RANKS,
    PURCHASE_TABLES,
    QUERIES,
    RANKINGS,
    SEQUENCES,
    SPLIT_CUTOFFS,
)
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.evaluation.console import what_if_table
from recsys_spark.evaluation.facts import customer_activity, hits, judged, positive_facts
from recsys_spark.evaluation.protocols import positive_ranks
from recsys_spark.evaluation.summary import collect_sums
from recsys_spark.evaluation.sums import as_cells, customer_hits, customer_totals
from recsys_spark.out_file import require_free, write_json
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.fitted_rules import fitted_rules, policy_of, rule_files, with_exclusions
from recsys_spark.recommendations.lists import passed_over
from recsys_spark.recommendations.what_if import (
    AFTER,
    BEFORE,
    K,
    Ruler,
    bought_before,
    cost_of_rules,
    ruled_rankings,
)
from recsys_spark.sequences.histories import customer_histories
from recsys_spark.sequences.reading import read_purchases
from recsys_spark.sequences.split import cutoff
from recsys_spark.stage import Metrics, Stage, StageIO

FIT, SPLIT = "val", "test"
_OF_LISTS = ("as_of", "new_lines")  # of section `recommend`: which lists are made, not which rules hold for them


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    options, root, best = config.recommend, config.paths.processed, io.read_json(EVALUATION)["best"]
    val_end = io.read_json(SPLIT_CUTOFFS)["val_end"]
    interactions, item_ids, customer_ids = read_purchases(io)
    known = interactions.filter(F.col("invoice_date") <= cutoff(val_end))  # prices are what the fit could know
    ruler = Ruler(
        policy=policy_of(options, K),
        rules=fitted_rules(io, io.read(ITEMS_CLEAN), options, config.ingest, config.clean.dates, known),
        codes=partial(load_codes, *io.path_and_content(ITEM_ID_MAP)),
        popularity=FittedPopularity(*io.path_and_content(ITEM_POPULARITY, fit=FIT)),
    )
    histories = customer_histories(interactions, item_ids, customer_ids, config.sequences.merge_minutes)
    bought = bought_before(io.read(QUERIES, split=SPLIT), histories)
    bought = io.materialise("bought", with_exclusions(io, bought, customer_ids, options, config.ingest, root))
    ruled = {
        model: io.materialise(
            f"ruled_{model}", ruled_rankings(io.read(RANKINGS, model=model, split=SPLIT), bought, ruler)
        )
        for model in sorted(set(best.values()))
    }
    sequences = judged(io.read(SEQUENCES, split=SPLIT), SPLIT, config.evaluation.test_end)
    activity = customer_activity(interactions, customer_ids, val_end)
    facts = io.materialise("facts", positive_facts(sequences, io.read(ITEM_POPULARITY, fit=FIT), activity))
    after = {model: positive_ranks(frame, sequences, item_ids) for model, frame in ruled.items()}
    before = {model: io.read(POSITIVE_RANKS, model=model, split=SPLIT) for model in ruled}
    found = hits(facts, {BEFORE: _of_best(before, best), AFTER: _of_best(after, best)})
    cells = [as_cells("hits", customer_hits(found)), as_cells("totals", customer_totals(facts))]
    sums = collect_sums(cells, config.evaluation.replicates, config.seed)
    removed = {
        protocol: passed_over(ruled[best[protocol]].filter(F.col("protocol") == protocol))
        for protocol in LIST_PROTOCOLS
    }
    return cost_of_rules(sums, best, removed)


def _of_best(ranks: dict[str, DataFrame], best: dict[str, str]) -> DataFrame:
    """POSITIVE_RANKS of each protocol by its best model."""
    parts = [ranks[best[protocol]].filter(F.col("protocol") == protocol) for protocol in LIST_PROTOCOLS]
    return reduce(DataFrame.unionByName, parts)


def input_files(config: PipelineConfig) -> list[str]:
    """The files of the business's rules."""
    return rule_files(config.recommend)


def entry_facts(config: PipelineConfig) -> dict[str, str]:
    """Which customers of exclusions come in, and under which names."""
    if not config.recommend.customer_exclusions:
        return {}
    return CustomerEntry.of(config.ingest, config.paths.processed).facts()


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job beside the common ones."""
    parser.add_argument("--out", metavar="FILE", help="with --what-if: where to write the cost of the rules as JSON")
    return parser


def what_if(arguments: argparse.Namespace) -> None:
    """Print the cost of the rules and, with --out, write all of it."""
    config = config_from(arguments)
    given = [f"recommend.{name}" for name in _OF_LISTS if getattr(config.recommend, name)]
    asked = [key for key in given if any(pair.startswith(f"{key}=") for pair in arguments.set)]
    if asked:
        raise ConfigError(f"--what-if measures on the test queries, each at its own time: leave out {', '.join(asked)}")
    require_free(arguments.out, (config.paths.processed,))
    outcome = run_alone(STAGE, arguments, goes_on=lambda _unfinished: False)
    write_json(arguments.out, outcome.metrics)
    print(what_if_table(outcome.metrics))


STAGE = Stage(
    "what_if",
    reads=(
        *PURCHASE_TABLES,
        INGEST_REPORT,
        ITEMS_CLEAN,
        ITEM_POPULARITY,
        QUERIES,
        SEQUENCES,
        RANKINGS,
        POSITIVE_RANKS,
        SPLIT_CUTOFFS,
        EVALUATION,
    ),
    writes=(),  # its metrics are the result; they stay in the stage's record
    sections=("recommend", "evaluation", "sequences", "ingest", "clean"),
    run=run,
    sources=input_files,
    facts=entry_facts,
)

if __name__ == "__main__":
    main_command(what_if, lambda parser: add_arguments(working_arguments(parser)))
