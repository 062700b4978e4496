"""Answer look-ups over HTTP from a finished run: recommendations of a customer or a basket, and similar products."""

from __future__ import annotations

import argparse
import subprocess
import sys

from jobs import recommend
from recsys_spark.command_line import common_arguments, config_from, main_command
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ArtifactError, ConfigError
from recsys_spark.contracts.model_config import FALLBACKS
from recsys_spark.serving.bundle_reloader import BundleReloader
from recsys_spark.serving.plan import Served, run_to_serve
from recsys_spark.serving.prepare import prepare
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    """Make the bundle."""
    return {"bundle": prepare(served_by(config), io.storage).name}


STAGE = Stage("serve", reads=recommend.STAGE.reads, writes=(), sections=recommend.STAGE.sections, run=run)


def served_by(config: PipelineConfig) -> Served:
    """What the config wants served. Raises ConfigError for a fallback that only `recommend` has behind its models."""
    if config.baselines.fallback != FALLBACKS[0]:
        raise ConfigError(f"serve answers with baselines.fallback {FALLBACKS[0]}, got {config.baselines.fallback}")
    return Served(config, STAGE, recommend.model_settings(config))


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument("--prepare", action="store_true", help="make the bundle that is served, and end")
    return common_arguments(parser)


def serve(arguments: argparse.Namespace) -> None:
    """Make the bundle, or answer until stopped."""
    config = config_from(arguments)
    if arguments.prepare:
        print(prepare(served_by(config), run_to_serve(config, with_session=True)))
        return
    try:
        from recsys_spark.serving.server import bound_socket, run_server
        from recsys_spark.serving.worker_pool import WorkerPool
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is missing: install the project's extra serve "
            "(pip install '.[serve]', or the wheel with [serve])"
        ) from None
    maker, served = BundleMaker(arguments), served_by(config)
    bound = bound_socket(config.serve.host, config.serve.port)  # first: a bundle takes long to make
    pool = WorkerPool(served, arguments.log_format)

    def stop() -> None:
        maker.stop()
        pool.close()

    try:
        run_server(BundleReloader(served, maker, pool.open), stop, bound)
    finally:
        stop()


class BundleMaker:
    """Makes the bundle in a process of its own, whose Spark goes when it ends."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        options = [("--config", each) for each in arguments.config] + [("--set", each) for each in arguments.set]
        words = [word for pair in options for word in pair]
        self._command = [sys.executable, "-m", "jobs.serve", "--prepare", *words]
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def __call__(self) -> None:
        """Make it. Raises ArtifactError where that fails."""
        if self._is_stopped:
            raise ArtifactError("the server ends")
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        if self._is_stopped:  # meanwhile
            self._process.terminate()
        if code := self._process.wait():
            told = "recsys serve --prepare says why"
            raise ArtifactError(f"the bundle could not be made (exit {code}); {told}")

    def stop(self) -> None:
        """End what is being made, and make nothing more."""
        self._is_stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


if __name__ == "__main__":
    main_command(serve, add_arguments)
