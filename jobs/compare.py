"""Compare two finished runs on their common test positives: python jobs/compare.py ROOT_A ROOT_B [--out FILE]."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from recsys_spark.command_line import common_arguments, config_from, finish, guarded
from recsys_spark.evaluation.compare import compare_runs
from recsys_spark.evaluation.console import comparison_table
from recsys_spark.evaluation.runs import Run
from recsys_spark.session import get_session
from recsys_spark.storage import Storage


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument("first", metavar="RUN_A", help="root of a run (its paths.processed)")
    parser.add_argument("second", metavar="RUN_B", help="root of the run that is held against it")
    parser.add_argument("--out", metavar="FILE", help="where to write the whole comparison as JSON")
    return common_arguments(parser)


def compare(arguments: argparse.Namespace) -> None:
    """Print the comparison and, with --out, write all of it."""
    config = config_from(arguments)
    spark = get_session(config.session)
    runs = [Run(Storage(root, spark)) for root in (arguments.first, arguments.second)]
    comparison = compare_runs(runs[0], runs[1], config.evaluation, config.seed)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(comparison, indent=1, ensure_ascii=False), encoding="utf-8")
    print(comparison_table(comparison))


if __name__ == "__main__":
    given = add_arguments(argparse.ArgumentParser(description=__doc__)).parse_args()
    finish(guarded(lambda: compare(given), debug=given.debug))
