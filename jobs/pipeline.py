"""Run all stages in order, or some of them; hand artifacts on. Console script `recsys`."""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from jobs import (
    baselines,
    candidates,
    check_leaks,
    clean,
    compare,
    entities,
    evaluate,
    features,
    folds,
    ingest,
    recommend,
    sequences,
    train_ranker,
    train_retriever,
    what_if,
)
from recsys_spark.closing import closing_words
from recsys_spark.command_line import (
    add_options,
    add_switches,
    common_arguments,
    config_from,
    finish,
    guarded,
    open_storage,
)
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.features import FEATURES, features_table
from recsys_spark.export import FORMATS, export_table
from recsys_spark.stage import Stage, run_stage

STAGES: tuple[Stage, ...] = tuple(
    module.STAGE
    for module in (
        ingest,
        clean,
        entities,
        sequences,
        baselines,
        train_retriever,
        candidates,
        features,
        train_ranker,
        evaluate,
        recommend,
    )
)
_NAMES = tuple(stage.name for stage in STAGES)


def console() -> None:
    """Entry point of `recsys`. Without a command, `run` is meant."""
    words = sys.argv[1:]
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["run", *words]
    arguments = command_parser().parse_args(words)
    work = {
        "run": _run,
        "export": _export,
        "compare": compare.compare,
        "evaluate": _evaluate,
        "recommend": _recommend,
        "describe": _describe,
    }
    finish(guarded(lambda: work.get(arguments.command, _run_one)(arguments), debug=arguments.debug))


def command_parser() -> argparse.ArgumentParser:
    """The commands of `recsys` and their arguments."""
    parser = argparse.ArgumentParser(prog="recsys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = common_arguments(commands.add_parser("run", help="all stages, or --from NAME --to NAME (the default)"))
    run.add_argument("--from", dest="first", choices=_NAMES, default=_NAMES[0], help="first stage to run")
    run.add_argument("--to", dest="last", choices=_NAMES, default=_NAMES[-1], help="last stage to run")
    export = common_arguments(commands.add_parser("export", help="hand a table on as CSV, Excel or Parquet"))
    export.add_argument("artifact", help="such as interactions_clean or rankings_popularity_test")
    export.add_argument("--format", choices=FORMATS, default="csv")
    export.add_argument("--out", help="file or folder to write; it may not exist yet")
    compare.add_arguments(commands.add_parser("compare", help="hold one finished run against another"))
    describe = commands.add_parser("describe", help="print every feature of the ranker")
    describe.add_argument("what", choices=("features",))
    describe.add_argument("--debug", action="store_true", help="show tracebacks")
    for stage in STAGES:
        alone = commands.add_parser(stage.name, help=f"stage {stage.name} alone")
        if stage.name == evaluate.STAGE.name:
            alone.add_argument("--check-leaks", action="store_true", help="plant later lines, which may change nothing")
            folds.add_arguments(alone)
        else:
            common_arguments(alone)
        if stage.name == baselines.STAGE.name:
            add_switches(alone, baselines.SWITCHES)
        if stage.name == recommend.STAGE.name:
            add_options(alone, recommend.OPTIONS)
            alone.add_argument("--what-if", action="store_true", help="measure what the rules cost; recommend nothing")
            what_if.add_arguments(alone)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    first, last = _NAMES.index(arguments.first), _NAMES.index(arguments.last)
    if first > last:
        raise ConfigError(f"--from {arguments.first} comes after --to {arguments.last}")
    config = config_from(arguments)
    storage = open_storage(config)
    outcomes = {}
    progress = tqdm(STAGES[first : last + 1], unit="stage", disable=None)
    with logging_redirect_tqdm():
        for stage in progress:
            progress.set_description(stage.name)
            outcomes[stage.name] = run_stage(stage, config, storage, arguments.force, arguments.verify)
    print(closing_words(storage, outcomes))


def _run_one(arguments: argparse.Namespace) -> None:
    config = config_from(arguments)
    stage = STAGES[_NAMES.index(arguments.command)]
    run_stage(stage, config, open_storage(config), arguments.force, arguments.verify)


def _evaluate(arguments: argparse.Namespace) -> None:
    """The stage alone, unless folds, seeds or the leak check are asked for."""
    if arguments.check_leaks:
        check_leaks.check(arguments)
    elif arguments.folds or arguments.seeds:
        folds.fold(arguments)
    else:
        _run_one(arguments)


def _recommend(arguments: argparse.Namespace) -> None:
    """The stage alone, unless the cost of its rules is asked for."""
    if arguments.what_if:
        what_if.what_if(arguments)
    else:
        _run_one(arguments)


def _describe(_: argparse.Namespace) -> None:
    print(features_table(FEATURES))


def _export(arguments: argparse.Namespace) -> None:
    storage = open_storage(config_from(arguments))
    print(export_table(storage, arguments.artifact, arguments.format, arguments.out))


if __name__ == "__main__":
    console()
