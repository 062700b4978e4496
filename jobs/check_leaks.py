"""Leak check: lines planted behind the end of the data may change nothing that was fitted before, nor be rewarded."""

from __future__ import annotations

import argparse

from jobs import baselines, clean, entities, ingest, sequences
from recsys_spark.command_line import common_arguments, config_from, finish, guarded, open_storage
from recsys_spark.evaluation.leaks import check_leaks
from recsys_spark.stage import run_stage

STAGES = tuple(module.STAGE for module in (clean, entities, sequences, baselines))


def check(arguments: argparse.Namespace) -> None:
    """Run what is not up to date, then the check; a leak ends the job with the exit of a missed gate."""
    config = config_from(arguments)
    storage = open_storage(config)
    for stage in (ingest.STAGE, *STAGES):
        run_stage(stage, config, storage, arguments.force, arguments.verify)
    for label in check_leaks(STAGES, config):
        print(f"equal with later lines: {label}")
    print("no list holds the planted product")


if __name__ == "__main__":
    given = common_arguments(argparse.ArgumentParser(description=__doc__)).parse_args()
    finish(guarded(lambda: check(given), debug=given.debug))
