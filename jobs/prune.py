"""Remove old complete runs and unfinished ones that nothing will go on with."""

from __future__ import annotations

import argparse

from recsys_spark.command_line import common_arguments, config_from, main_command, this_command
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.runs.lock import LockRules
from recsys_spark.runs.prune import prune
from recsys_spark.runs.root import RunRoot


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument("--keep", type=int, help="complete runs that stay, the newest; runs.keep of the config without")
    parser.add_argument("--unfinished", action="store_true", help="also the run that `recsys run` would go on with")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    return common_arguments(parser)


def remove_runs(arguments: argparse.Namespace) -> None:
    """Remove runs and say which, and how many bytes that frees."""
    config = config_from(arguments)
    keep = config.runs.keep if arguments.keep is None else arguments.keep
    if keep < 1:
        raise ConfigError(f"--keep must be at least 1, got {keep}")
    rules, root = LockRules(config.runs.lock_seconds), RunRoot(config.paths.processed)
    removed = prune(root, keep, rules, this_command(), arguments.unfinished, arguments.dry_run)
    verb = "would remove" if arguments.dry_run else "removed"
    for each in removed:
        print(f"{verb} {each.run} ({each.why}): {each.bytes:,} bytes")
    print(f"{verb} {len(removed)} runs: {sum(each.bytes for each in removed):,} bytes")


if __name__ == "__main__":
    main_command(remove_runs, add_arguments)
