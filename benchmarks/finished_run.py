"""The run that a benchmark measures on: `--config` as it ran."""

from __future__ import annotations

import argparse

from recsys_spark.command_line import common_arguments, config_from, open_storage
from recsys_spark.stage import Stage, StageIO


def opened_run(description: str | None, stage: Stage, repetitions: int) -> tuple[StageIO, int]:
    """What the command line asks for: a finished run as `stage` reads it, and the number of repetitions.

    repetitions: without `--repetitions`.
    """
    parser = common_arguments(argparse.ArgumentParser(description=description))
    parser.add_argument("--repetitions", type=int, default=repetitions)
    arguments = parser.parse_args()
    config = config_from(arguments)
    return StageIO(stage, open_storage(config), config), arguments.repetitions
