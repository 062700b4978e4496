"""Leak check: lines planted behind the end of the data may change nothing that was fitted before, nor be rewarded."""

from __future__ import annotations

import argparse

from jobs import baselines, clean, entities, ingest, sequences
from recsys_spark.command_line import config_from, main_command, this_command, working_arguments
from recsys_spark.evaluation.leaks import check_leaks
from recsys_spark.runs.pipeline import Order, stages_done

STAGES = tuple(module.STAGE for module in (clean, entities, sequences, baselines))


def check(arguments: argparse.Namespace) -> None:
    """Run what is not up to date, then the check; a leak ends the job with the exit of a missed gate."""
    config = config_from(arguments)
    order = Order(this_command(), arguments.run, arguments.force, arguments.verify)
    with stages_done((ingest.STAGE, *STAGES), config, order) as work:
        compared = check_leaks(STAGES, config, work.storage)
    for label in compared.equal:
        print(f"equal with later lines: {label}")
    for label in compared.unchecked:
        print(f"not checked, as ALS starts from ids that later lines shift: {label}")
    print("no list holds the planted product")


if __name__ == "__main__":
    main_command(check, working_arguments)
