"""Run all stages in order, or some of them; hand artifacts on. Console script `recsys`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from jobs import (
    ablate,
    baselines,
    candidates,
    check_leaks,
    clean,
    compare,
    entities,
    evaluate,
    features,
    folds,
    forget,
    ingest,
    lineage,
    monitor,
    prune,
    recommend,
    report,
    rollback,
    sequences,
    serve,
    status,
    train_ranker,
    train_retriever,
    what_if,
)
from recsys_spark.command_line import (
    add_options,
    add_switches,
    add_verify,
    config_from,
    finish,
    guarded,
    open_storage,
    reading_arguments,
    run_alone,
    this_command,
    working_arguments,
)
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.features import FEATURES, features_table
from recsys_spark.export import FORMATS, export_table
from recsys_spark.run_summary import run_summary
from recsys_spark.runs.cost import cost_sheet
from recsys_spark.runs.pipeline import Order, stages_done
from recsys_spark.stage import Stage

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
        report,
    )
)
_NAMES = tuple(stage.name for stage in STAGES)
BESIDE: tuple[Stage, ...] = (ablate.STAGE, monitor.STAGE)  # in no run's order: they look at one that is there


def console() -> None:
    """Entry point of `recsys`. Without a command, `run` is meant."""
    words = sys.argv[1:]
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["run", *words]
    arguments = command_parser().parse_args(words)
    work = COMMANDS[arguments.command].work
    finish(guarded(lambda: work(arguments), arguments.debug, getattr(arguments, "log_format", "text")))


def command_parser() -> argparse.ArgumentParser:
    """The commands of `recsys` and their arguments."""
    parser = argparse.ArgumentParser(prog="recsys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help))
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    working_arguments(parser)
    parser.add_argument("--from", dest="first", choices=_NAMES, default=_NAMES[0], help="first stage to run")
    parser.add_argument("--to", dest="last", choices=_NAMES, default=_NAMES[-1], help="last stage to run")


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    add_verify(reading_arguments(parser))
    parser.add_argument("artifact", help="such as interactions_clean or rankings_popularity_test")
    parser.add_argument("--format", choices=FORMATS, default="csv")
    parser.add_argument("--out", help="file or folder to write; it must not exist yet")


def _describe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("features",))
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def _baselines_arguments(parser: argparse.ArgumentParser) -> None:
    add_switches(working_arguments(parser), baselines.SWITCHES)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check-leaks", action="store_true", help="check that later lines change nothing")
    folds.add_arguments(parser)


def _recommend_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(working_arguments(parser), recommend.OPTIONS)
    parser.add_argument("--what-if", action="store_true", help="measure what the rules cost; recommend nothing")
    what_if.add_arguments(parser)


def _run(arguments: argparse.Namespace) -> None:
    first, last = _NAMES.index(arguments.first), _NAMES.index(arguments.last)
    if first > last:
        raise ConfigError(f"--from {arguments.first} comes after --to {arguments.last}")
    order = Order(this_command(), arguments.run, arguments.force, arguments.verify, _shown)
    with logging_redirect_tqdm(), stages_done(STAGES[first : last + 1], config_from(arguments), order) as work:
        pass
    ran = [name for name, outcome in work.outcomes.items() if not outcome.skipped]
    if ran:
        print("", cost_sheet(work.record.stages, ran, work.session.seconds), sep="\n", end="\n\n")
    print(run_summary(work.storage, work.outcomes, work.root.best_name(work.record.id)))


def _shown(stages: Sequence[Stage]) -> Iterator[Stage]:
    """The stages one by one, with a progress bar in a terminal."""
    progress = tqdm(stages, unit="stage", disable=None)
    for stage in progress:
        progress.set_description(stage.name)
        yield stage


def _evaluate(arguments: argparse.Namespace) -> None:
    """The stage alone, unless folds, seeds or the leak check are asked for."""
    if arguments.out and not (arguments.folds or arguments.seeds):
        raise ConfigError("--out is what --folds or --seeds found; give one of them, or leave it out")
    if arguments.check_leaks and (arguments.folds or arguments.seeds):
        raise ConfigError("--check-leaks goes without --folds and --seeds; run it by itself")
    if arguments.check_leaks:
        check_leaks.check(arguments)
    elif arguments.folds or arguments.seeds:
        folds.fold(arguments)
    else:
        run_alone(evaluate.STAGE, arguments)


def _recommend(arguments: argparse.Namespace) -> None:
    """The stage alone, unless the cost of its rules is asked for."""
    if arguments.what_if:
        what_if.what_if(arguments)
    elif arguments.out:
        raise ConfigError("--out is what --what-if found; give that too, or hand lists on by `recsys export`")
    else:
        recommend.recommend_alone(arguments)


def _describe(_: argparse.Namespace) -> None:
    print(features_table(FEATURES))


def _export(arguments: argparse.Namespace) -> None:
    storage = open_storage(config_from(arguments), arguments.run)
    print(export_table(storage, arguments.artifact, arguments.format, arguments.out, arguments.verify))


def _status(arguments: argparse.Namespace) -> None:
    status.status(STAGES, arguments)


def _purpose(stage: Stage) -> str:
    doc = sys.modules[stage.run.__module__].__doc__ or ""
    return f"this stage alone: {doc.splitlines()[0].rstrip('.')}"


class Command(NamedTuple):
    """One command of `recsys`: what `--help` says, its arguments, and what it does."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], object]
    work: Callable[[argparse.Namespace], object]


COMMANDS = {
    "run": Command("all stages, or --from NAME --to NAME (the default)", _run_arguments, _run),
    "export": Command("hand a table on as CSV, Excel or Parquet", _export_arguments, _export),
    "compare": Command("compare two finished runs", compare.add_arguments, compare.compare),
    "status": Command("where each stage stands: fresh, stale and why, running", status.add_arguments, _status),
    "lineage": Command(
        "where an artifact comes from, back to the sources", lineage.add_arguments, lineage.show_lineage
    ),
    "rollback": Command("make the run before the current one current", rollback.add_arguments, rollback.roll_back),
    "prune": Command("remove old runs", prune.add_arguments, prune.remove_runs),
    "serve": Command("answer look-ups over HTTP from a finished run", serve.add_arguments, serve.serve),
    "forget": Command("remove customers from all that runs left behind", forget.add_arguments, forget.forget),
    "monitor": Command("what moved since another run, or in new lines", monitor.add_arguments, monitor.monitor),
    "describe": Command("print every feature of the ranker", _describe_arguments, _describe),
    **{
        stage.name: Command(_purpose(stage), working_arguments, partial(run_alone, stage))
        for stage in (*STAGES, ablate.STAGE)
    },
}
COMMANDS |= {  # stages whose command takes arguments of its own
    "baselines": Command(_purpose(baselines.STAGE), _baselines_arguments, partial(run_alone, baselines.STAGE)),
    "evaluate": Command(_purpose(evaluate.STAGE), _evaluate_arguments, _evaluate),
    "recommend": Command(_purpose(recommend.STAGE), _recommend_arguments, _recommend),
}

if __name__ == "__main__":
    console()
