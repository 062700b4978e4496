"""Run all stages in order, or some of them; hand artifacts on. Console script `recsys`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

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
_BY_NAME = {stage.name: stage for stage in (*STAGES, ablate.STAGE)}


def console() -> None:
    """Entry point of `recsys`. Without a command, `run` is meant."""
    words = sys.argv[1:]
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["run", *words]
    arguments = command_parser().parse_args(words)
    work = _WORK.get(arguments.command, _run_one)
    finish(guarded(lambda: work(arguments), arguments.debug, getattr(arguments, "log_format", "text")))


def command_parser() -> argparse.ArgumentParser:
    """The commands of `recsys` and their arguments."""
    parser = argparse.ArgumentParser(prog="recsys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = working_arguments(commands.add_parser("run", help="all stages, or --from NAME --to NAME (the default)"))
    run.add_argument("--from", dest="first", choices=_NAMES, default=_NAMES[0], help="first stage to run")
    run.add_argument("--to", dest="last", choices=_NAMES, default=_NAMES[-1], help="last stage to run")
    export = add_verify(
        reading_arguments(commands.add_parser("export", help="hand a table on as CSV, Excel or Parquet"))
    )
    export.add_argument("artifact", help="such as interactions_clean or rankings_popularity_test")
    export.add_argument("--format", choices=FORMATS, default="csv")
    export.add_argument("--out", help="file or folder to write; it may not exist yet")
    compare.add_arguments(commands.add_parser("compare", help="hold one finished run against another"))
    status.add_arguments(commands.add_parser("status", help="where each stage stands: fresh, stale and why, running"))
    lineage.add_arguments(commands.add_parser("lineage", help="where an artifact comes from, back to the sources"))
    rollback.add_arguments(commands.add_parser("rollback", help="let readers read the run before the current one"))
    prune.add_arguments(commands.add_parser("prune", help="remove old runs"))
    serve.add_arguments(commands.add_parser("serve", help="answer look-ups over HTTP from a finished run"))
    forget.add_arguments(commands.add_parser("forget", help="take customers out of all that runs left behind"))
    monitor.add_arguments(commands.add_parser("monitor", help="what moved since another run, or in new lines"))
    describe = commands.add_parser("describe", help="print every feature of the ranker")
    describe.add_argument("what", choices=("features",))
    describe.add_argument("--debug", action="store_true", help="show tracebacks")
    for stage in _BY_NAME.values():
        alone = commands.add_parser(stage.name, help=f"stage {stage.name} alone")
        if stage.name == evaluate.STAGE.name:
            alone.add_argument("--check-leaks", action="store_true", help="plant later lines, which may change nothing")
            folds.add_arguments(alone)
        else:
            working_arguments(alone)
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


def _run_one(arguments: argparse.Namespace) -> None:
    run_alone(_BY_NAME[arguments.command], arguments)


def _evaluate(arguments: argparse.Namespace) -> None:
    """The stage alone, unless folds, seeds or the leak check are asked for."""
    if arguments.out and not (arguments.folds or arguments.seeds):
        raise ConfigError("--out is what --folds or --seeds found; give one of them, or leave it out")
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


_WORK = {
    "run": _run,
    "export": _export,
    "forget": forget.forget,
    "monitor": monitor.monitor,
    "compare": compare.compare,
    "evaluate": _evaluate,
    "recommend": _recommend,
    "describe": _describe,
    "status": _status,
    "lineage": lineage.show_lineage,
    "rollback": rollback.roll_back,
    "prune": prune.remove_runs,
    "serve": serve.serve,
}

if __name__ == "__main__":
    console()
