"""The command line that all jobs share, and what each fault prints and exits with."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OTHER, PipelineError
from recsys_spark.contracts.load_config import load_config
from recsys_spark.session import WITHOUT_SESSION, get_session
from recsys_spark.stage import Stage, run_stage
from recsys_spark.storage import Storage


def main(
    stage: Stage, switches: Mapping[str, str] | None = None, options: Mapping[str, tuple[str, str]] | None = None
) -> None:
    """Entry point of `python jobs/<stage>.py`. switches, options: see `add_switches` and `add_options`."""
    parser = common_arguments(argparse.ArgumentParser(description=sys.modules[stage.run.__module__].__doc__))
    add_switches(parser, switches or {})
    add_options(parser, options or {})
    arguments = parser.parse_args()

    def work() -> None:
        config = config_from(arguments)
        run_stage(stage, config, open_storage(config), force=arguments.force, verify=arguments.verify)

    finish(guarded(work, debug=arguments.debug))


def common_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments that every job takes."""
    parser.add_argument("--config", action="append", default=[], metavar="FILE", help="YAML overlay; may be repeated")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one config value")
    parser.add_argument("--force", action="store_true", help="run also what is up to date")
    parser.add_argument("--verify", choices=("size", "full"), default="size", help="how inputs are checked")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def add_switches(parser: argparse.ArgumentParser, switches: Mapping[str, str]) -> None:
    """Add options that are short for a --set: {"--tune": "baselines.tune=true"}."""
    for option, pair in switches.items():
        parser.add_argument(option, dest="set", action="append_const", const=pair, help=f"short for --set {pair}")


def add_options(parser: argparse.ArgumentParser, options: Mapping[str, tuple[str, str]]) -> None:
    """Add options that take a value of the config: {"--as-of": ("recommend.as_of", "TIME")}.

    One whose word ends in dots takes several values.
    """
    for option, (key, word) in options.items():
        several = "+" if word.endswith("...") else None
        told = f"short for --set {key}={'[...]' if several else word}"
        name = word.removesuffix("...")
        parser.add_argument(option, dest="set", action=_Setting, const=key, nargs=several, metavar=name, help=told)


class _Setting(argparse.Action):
    """Keeps what is given as one more pair of --set; `const` is its key."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, values: object, _option: object = None) -> None:
        namespace.set = [*namespace.set, f"{self.const}={json.dumps(values)}"]


def config_from(arguments: argparse.Namespace) -> PipelineConfig:
    """The config that the common arguments describe."""
    return load_config(arguments.config, arguments.set)


def open_storage(config: PipelineConfig, with_session: bool = True) -> Storage:
    """The session and the artifacts that a config names; without the session only paths and documents can be had."""
    return Storage(config.paths.processed, get_session(config.session) if with_session else WITHOUT_SESSION)


def guarded(work: Callable[[], None], debug: bool) -> int:
    """Run `work`; returns the exit code. A fault prints one line on stderr, a traceback only with `debug`."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("recsys").setLevel(logging.INFO)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # on Ctrl-C it prints tracebacks of its own
    try:
        work()
    except PipelineError as error:
        return _say(f"error: {error}", error.exit_code, debug)
    except KeyboardInterrupt:
        return _say("error: interrupted; what was published stays, the same command goes on", EXIT_INTERRUPTED, debug)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or ["no message"]
        return _say(f"error: {type(error).__name__}: {lines[0]} (--debug shows more)", EXIT_OTHER, debug)
    return EXIT_DONE


def _say(line: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(line, file=sys.stderr)
    return code


def finish(code: int) -> None:
    """Leave with a code. Success returns: some Databricks runtimes take any SystemExit for a failure."""
    if code != EXIT_DONE:
        sys.exit(code)
