"""Let readers read an earlier run again: the complete one before the current, or the one named."""

from __future__ import annotations

import argparse

from recsys_spark.command_line import common_arguments, config_from, main_command, this_command
from recsys_spark.runs.lock import LockRules
from recsys_spark.runs.prune import rollback
from recsys_spark.runs.root import RunRoot


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument("run", nargs="?", metavar="ID", help="the run to make current; without, the one before")
    return common_arguments(parser)


def roll_back(arguments: argparse.Namespace) -> None:
    """Move `current` and say where to."""
    config = config_from(arguments)
    root = RunRoot(config.paths.processed)
    chosen = rollback(root, arguments.run, LockRules(config.runs.lock_seconds), this_command())
    print(f"current is {chosen.id}, completed {chosen.completed}, in {root.folder(chosen.id)}")


if __name__ == "__main__":
    main_command(roll_back, add_arguments)
