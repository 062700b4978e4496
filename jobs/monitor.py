"""Hold a run against an earlier one (--against RUN) or against lines that came since (--with FILES)."""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from typing import Any

from recsys_spark.cleaning.clean import NEED_ALL_LINES
from recsys_spark.command_line import add_options, config_from, main_command, this_command, working_arguments
from recsys_spark.contracts.artifacts import (
    CUSTOMER_ID_MAP,
    DRIFT,
    DRIFT_HTML,
    INGEST_REPORT,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
)
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError, GateError
from recsys_spark.ingest.readers import source_files
from recsys_spark.manifest import digest_of
from recsys_spark.monitoring.calibration import calibration_measures
from recsys_spark.monitoring.embeddings import embedding_measures
from recsys_spark.monitoring.features import feature_measures
from recsys_spark.monitoring.lines import latest, line_measures, measures_of_runs, unknown_measures
from recsys_spark.monitoring.lists import list_measures
from recsys_spark.monitoring.measures import Measure, drift_document
from recsys_spark.monitoring.metrics import metric_measures
from recsys_spark.monitoring.money import new_measures, period_measures
from recsys_spark.monitoring.page import write_page
from recsys_spark.monitoring.rejections import Rejections, rejected, rejected_of_runs, rejections_of
from recsys_spark.monitoring.runs import SeenRun, earlier_run, require_another
from recsys_spark.monitoring.words import drift_words
from recsys_spark.plurals import counted
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.moment import only_new_lines, source_of
from recsys_spark.runs.choose import Wanted
from recsys_spark.runs.root import CURRENT
from recsys_spark.runs.work import working
from recsys_spark.source_files import SOURCE
from recsys_spark.stage import Metrics, Stage, StageIO


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    against, new_lines = config.monitor.against, config.monitor.new_lines
    if bool(against) == bool(new_lines):
        raise ConfigError("a run is held against one thing: give either --against RUN or --with FILES")
    own = SeenRun(io.storage, io.inputs, io.verify)
    sides: dict[str, Any] = {"run": io.storage.root, "against": against, "new_lines": list(new_lines)}
    if against:
        earlier = earlier_run(against, io.spark, io.verify)
        require_another(earlier, own, against)
        measures, differs = _of_runs(earlier, own, config)
        io.inputs[SOURCE + against] = digest_of(earlier.seen)
    else:
        measures, differs = _of_new_lines(io, own, config), {}
    document = drift_document(sides, dataclasses.asdict(config.monitor.thresholds), measures, differs)
    io.write_json(DRIFT, document)
    io.write_file(DRIFT_HTML, partial(write_page, document))
    return {"measures": len(measures), "alarms": document["alarms"]}


def _of_runs(earlier: SeenRun, own: SeenRun, config: PipelineConfig) -> tuple[list[Measure], dict[str, Any]]:
    options = config.monitor
    moved, differs = metric_measures(earlier, own, options, config.evaluation, config.seed)
    return [
        rejected_of_runs(earlier, own, options),
        *measures_of_runs(earlier, own, options),
        *feature_measures(earlier, own, options),
        *embedding_measures(earlier, own, options),
        *calibration_measures((earlier, "test"), (own, "test"), options),
        *list_measures(earlier, own, options),
        *moved,
        *period_measures(earlier, own, options, config.evaluation, config.seed),
    ], differs


def _of_new_lines(io: StageIO, own: SeenRun, config: PipelineConfig) -> list[Measure]:
    options = config.monitor
    known = own.table(INTERACTIONS_CLEAN)
    entry = CustomerEntry.of(config.ingest, config.paths.processed)
    if own.has(INGEST_REPORT):
        entry.require_same_key(io.storage.read_json(INGEST_REPORT.path))
    found = only_new_lines(known, options.new_lines, config.ingest, config.clean, entry, io.materialise)
    new = io.materialise("new_lines", found.interactions)
    return [
        rejected(rejections_of(own, NEED_ALL_LINES), Rejections(found.num_read, found.rejected), options),
        *line_measures(latest(known, options.reference_days), new, options),
        *unknown_measures(new, own.table(CUSTOMER_ID_MAP), own.table(ITEM_ID_MAP), options),
        *calibration_measures((own, "val"), (own, "test"), options),
        *new_measures(own, new, options, config.evaluation, config.seed),
    ]


def input_files(config: PipelineConfig) -> list[str]:
    """The files of new lines."""
    new_lines = config.monitor.new_lines
    return source_files(source_of(new_lines, config.ingest)) if new_lines else []


STAGE = Stage(
    "monitor",
    reads=(),  # what a run lacks is not measured, so nothing is required; the manifest says what was read
    writes=(DRIFT, DRIFT_HTML),
    sections=("monitor", "evaluation", "ingest", "clean"),
    run=run,
    sources=input_files,
)

OPTIONS = {"--against": ("monitor.against", "RUN"), "--with": ("monitor.new_lines", "FILE...")}


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    add_options(working_arguments(parser), OPTIONS)
    return parser


def monitor(arguments: argparse.Namespace) -> None:
    """Measure, publish and print; GateError names what passed its threshold once both files can be looked at."""
    with working(config_from(arguments), Wanted(this_command(), arguments.run or CURRENT)) as work:
        outcome = work.do(STAGE, force=True, verify=arguments.verify)  # the other run may have changed
        storage = work.storage
    print(drift_words(storage.read_json(DRIFT.path)))
    print(f"page: {storage.location}/{DRIFT_HTML.path}")
    alarms = outcome.metrics["alarms"]
    if alarms:
        shown = ", ".join(alarms[:5]) + (f" and {len(alarms) - 5} more" if len(alarms) > 5 else "")
        passed = f"{counted(len(alarms), 'measure')} passed {'its' if len(alarms) == 1 else 'their'} threshold"
        raise GateError(f"{passed}: {shown}; look at {DRIFT_HTML.path}")


if __name__ == "__main__":
    main_command(monitor, add_arguments)
