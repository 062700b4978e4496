"""The command line that all jobs share, and what each fault prints and exits with."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OTHER, PipelineError
from recsys_spark.contracts.load_config import load_config
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.error_causes import cause_in_one_line
from recsys_spark.logs import LOG_FORMATS, say, set_up_logs
from recsys_spark.paths import filesystem
from recsys_spark.runs.choose import Wanted, place_of, run_to_read
from recsys_spark.runs.lock import ending_on_sigterm
from recsys_spark.runs.record import spoken_command
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.work import working
from recsys_spark.session import SessionSource, get_session, submitted_files
from recsys_spark.stage import Outcome, Stage
from recsys_spark.storage import Storage
from recsys_spark.tracking import tracked_run


def main(
    stage: Stage,
    switches: Mapping[str, str] | None = None,
    options: Mapping[str, tuple[str, str]] | None = None,
    work: Callable[[argparse.Namespace], object] | None = None,
) -> None:
    """Entry point of `python jobs/<stage>.py`. switches, options: see `add_switches` and `add_options`.

    work: what to do in place of `run_alone`.
    """

    def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        working_arguments(parser)
        add_switches(parser, switches or {})
        add_options(parser, options or {})
        return parser

    main_command(work or partial(run_alone, stage), add_arguments)


def main_command(
    do: Callable[[argparse.Namespace], object],
    add_arguments: Callable[[argparse.ArgumentParser], argparse.ArgumentParser],
) -> None:
    """Entry point of `python jobs/<command>.py` where that is no stage. add_arguments: the command's own, --debug and
    --log-format among them.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    given = add_arguments(parser).parse_args()
    finish(guarded(lambda: do(given), debug=given.debug, log_format=given.log_format))


def run_alone(
    stage: Stage,
    arguments: argparse.Namespace,
    goes_on: Callable[[Storage], bool] = lambda _unfinished: True,
    shown: Mapping[str, Artifact] | None = None,
) -> Outcome:
    """Run one stage: in the unfinished run, else in the current one, else in a first one.

    goes_on: whether an unfinished run is the one to work in though another is current. shown: files whose place is
    printed, by what they are called.
    """
    config = config_from(arguments)
    root = RunRoot(config.paths.processed)
    wanted = Wanted(this_command(), arguments.run, goes_on=lambda run: goes_on(Storage(root.folder(run.id))))
    with working(config, wanted) as work, tracked_run(config, work) as tracked:
        work.take_as_they_are(STAGE_NAMES[: place_of(stage.name)])
        with tracked(stage.name) as report:
            outcome = work.do(stage, arguments.force, arguments.verify)
            report(outcome)
    for name, artifact in (shown or {}).items():
        print(f"{name}: {root.best_name(work.record.id)}/{artifact.path}")
    return outcome


def this_command() -> str:
    """The command line of this process as run.json and locks may name it."""
    return spoken_command(sys.argv)


def common_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments that every job takes."""
    parser.add_argument("--config", action="append", default=[], metavar="FILE", help="YAML overlay; may be repeated")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one config value")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--log-format", choices=LOG_FORMATS, default="text", help="of the lines on stderr")
    return parser


def working_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of what runs stages."""
    parser.add_argument("--run", metavar="ID", help="the run to work in: an id, current, new, new:KEY (docs/runs.md)")
    parser.add_argument("--force", action="store_true", help="run also what is up to date")
    return add_verify(common_arguments(parser))


def reading_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of what reads a run."""
    parser.add_argument("--run", metavar="ID", help="the run to read, instead of the current one")
    return common_arguments(parser)


def add_verify(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the argument of what reads artifacts as they were published."""
    parser.add_argument("--verify", choices=("size", "full"), default="size", help="how inputs are checked")
    return parser


def add_switches(parser: argparse.ArgumentParser, switches: Mapping[str, str]) -> None:
    """Add options that are short for a --set: {"--tune": "baselines.tune=true"}."""
    for option, pair in switches.items():
        parser.add_argument(option, dest="set", action="append_const", const=pair, help=f"short for --set {pair}")


def add_options(parser: argparse.ArgumentParser, options: Mapping[str, tuple[str, str]]) -> None:
    """Add options that take a value of the config: {"--as-of": ("recommend.as_of", "TIME")}.

    One whose word ends in dots takes several values, also by being given several times.
    """
    for option, (key, word) in options.items():
        several = "+" if word.endswith("...") else None
        told = f"short for --set {key}={'[...]' if several else word}"
        name = word.removesuffix("...")
        parser.add_argument(option, dest="set", action=_Setting, const=key, nargs=several, metavar=name, help=told)


class _Setting(argparse.Action):
    """Keeps what is given as one more pair of --set; `const` is its key."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, values: object, _option: object = None) -> None:
        if isinstance(values, list):
            values = [*getattr(namespace, self.dest_of_all, []), *values]
            setattr(namespace, self.dest_of_all, values)
        namespace.set = [*namespace.set, f"{self.const}={json.dumps(values, ensure_ascii=False)}"]

    @property
    def dest_of_all(self) -> str:
        """Where all values of an option that takes several are kept."""
        return f"all of {self.const}"


def config_from(arguments: argparse.Namespace) -> PipelineConfig:
    """The config that the common arguments describe."""
    return config_of(arguments.config, arguments.set)


def config_of(overlays: Sequence[str], pairs: Sequence[str]) -> PipelineConfig:
    """The config of overlay files, which may lie on any file system, and of `key=value` pairs."""
    return load_config(overlays, pairs, text_of=_overlay_text)


def _overlay_text(path: str) -> str:
    """The text of a file given by its path or, where there is none, by the name of one that spark-submit ships.

    `SparkFiles` knows the latter only once there is a session, whose settings are part of what is read here.
    """
    fs, plain = filesystem(path)
    if "/" not in path and not fs.exists(plain):
        shipped = [file for file in submitted_files() if PurePosixPath(file).name == path]
        if shipped:
            fs, plain = filesystem(shipped[0])
    text: bytes = fs.cat_file(plain)
    return text.decode("utf-8")


def open_storage(config: PipelineConfig, run: str | None = None) -> Storage:
    """The artifacts of a run, for reading: the current one unless `run` names another. Spark starts when needed.

    Where no run is complete it is the unfinished one, which the log says. Raises ArtifactError where there is no run.
    """
    return storage_of(config.paths.processed, partial(get_session, config.session), run)


def storage_of(root: str, session: SessionSource = None, run: str | None = None) -> Storage:
    """The same by the root of the runs; a folder of artifacts is taken as it is."""
    runs = RunRoot(root)
    return Storage(runs.folder(run_to_read(runs, run).id), session)


def guarded(work: Callable[[], object], debug: bool, log_format: str = "text") -> int:
    """Run `work`; returns the exit code. A fault prints one line on stderr, a traceback only with `debug`."""
    set_up_logs(log_format)
    try:
        with ending_on_sigterm():
            work()
    except PipelineError as error:
        return _say(f"error: {error}", error.exit_code, debug)
    except KeyboardInterrupt:
        return _say("error: interrupted; what was published stays, the same command goes on", EXIT_INTERRUPTED, debug)
    except Exception as error:
        return _say(f"error: {cause_in_one_line(error)} (--debug shows more)", EXIT_OTHER, debug)
    return EXIT_DONE


def _say(line: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    say(line, code)
    return code


def finish(code: int) -> None:
    """Leave with a code. Success returns: some Databricks runtimes take any SystemExit for a failure."""
    if code != EXIT_DONE:
        sys.exit(code)
