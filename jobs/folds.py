"""The pipeline up to `evaluate` with its cutoffs moved back, or with other seeds: the spread of every test mean."""

from __future__ import annotations

import argparse

from jobs import (
    baselines,
    candidates,
    clean,
    entities,
    evaluate,
    features,
    ingest,
    sequences,
    train_ranker,
    train_retriever,
)
from recsys_spark.command_line import config_from, main_command, this_command, working_arguments
from recsys_spark.evaluation.console import spread_table
from recsys_spark.evaluation.rolling import run_folds, run_seeds
from recsys_spark.out_file import require_free, write_json
from recsys_spark.runs.pipeline import Order, stages_done

_PREPARE = (ingest, clean, entities, sequences)
_RANK = (baselines, train_retriever, candidates, features, train_ranker)
STAGES = tuple(module.STAGE for module in (*_PREPARE, *_RANK, evaluate))


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--folds", type=_several, help="origins, that of the run itself included")
    several.add_argument("--seeds", type=_several, help="compare that many seeds at one origin instead")
    parser.add_argument(
        "--out", metavar="FILE", help="with --folds or --seeds: where to write every mean of every run as JSON"
    )
    return working_arguments(parser)


def _several(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"a whole number of at least 2, got {text!r}")
    return int(text)


def fold(arguments: argparse.Namespace) -> None:
    """Run what is not up to date, print the spread (of three folds unless told) and, with --out, write all of it."""
    config = config_from(arguments)
    require_free(arguments.out, (config.paths.processed,))
    order = Order(this_command(), arguments.run, arguments.force, arguments.verify)
    with stages_done(STAGES, config, order) as work:
        if arguments.seeds:
            found = run_seeds(STAGES, config, work.storage, arguments.seeds)
        else:
            found = run_folds(STAGES, config, work.storage, arguments.folds or 3)
    write_json(arguments.out, found)
    print(spread_table(found))


if __name__ == "__main__":
    main_command(fold, add_arguments)
