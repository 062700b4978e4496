"""Where each stage of a run stands: fresh, stale and why, running, missing. Starts no Spark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial

from recsys_spark.command_line import config_from, main_command, reading_arguments
from recsys_spark.runs.status import status_of, status_table
from recsys_spark.stage import Stage


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return reading_arguments(parser)


def status(stages: Sequence[Stage], arguments: argparse.Namespace) -> None:
    """Print the status of the run that --run names, else of the unfinished one, else of the current one."""
    found = status_of(stages, config_from(arguments), arguments.run)
    print(json.dumps(found.values(), indent=1, ensure_ascii=False) if arguments.json else status_table(found))


if __name__ == "__main__":
    from jobs.pipeline import STAGES  # all of them, of which this job is told when it is a command of `recsys`

    main_command(partial(status, STAGES), add_arguments)
