"""Compare two finished runs on their common test positives: python jobs/compare.py RUN_A RUN_B [--out FILE]."""

from __future__ import annotations

import argparse

from recsys_spark.command_line import common_arguments, config_from, main_command, storage_of
from recsys_spark.evaluation.compare import compare_runs
from recsys_spark.evaluation.console import comparison_table
from recsys_spark.evaluation.runs import Run
from recsys_spark.out_file import require_free, write_json
from recsys_spark.session import get_session


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument(
        "first", metavar="RUN_A", help="paths.processed, whose current run is meant, or the folder of one run"
    )
    parser.add_argument("second", metavar="RUN_B", help="the same of the run that is held against it")
    parser.add_argument("--out", metavar="FILE", help="where to write the whole comparison as JSON")
    return common_arguments(parser)


def compare(arguments: argparse.Namespace) -> None:
    """Print the comparison and, with --out, write all of it."""
    config = config_from(arguments)
    require_free(arguments.out, (config.paths.processed, arguments.first, arguments.second))
    spark = get_session(config.session)
    runs = [Run(storage_of(root, spark)) for root in (arguments.first, arguments.second)]
    comparison = compare_runs(runs[0], runs[1], config.evaluation, config.seed)
    write_json(arguments.out, comparison)
    print(comparison_table(comparison))


if __name__ == "__main__":
    main_command(compare, add_arguments)
