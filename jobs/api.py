"""The pipeline from Python: in a notebook, here or on Databricks, stage by stage.

from jobs.api import Pipeline

pipeline = Pipeline("conf/demo.yaml", "clean.outliers.multiplier=2.5")
pipeline.run("clean")
pipeline.read("interactions_clean").show()
"""

from __future__ import annotations

import difflib
import logging
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from jobs.pipeline import STAGES
from recsys_spark.command_line import config_of, storage_of
from recsys_spark.contracts.artifacts import ARTIFACTS, Artifact
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.logs import set_up_logs
from recsys_spark.runs.pipeline import Order, stages_done
from recsys_spark.runs.root import RunRoot
from recsys_spark.session import get_session
from recsys_spark.stage import Metrics
from recsys_spark.storage import Storage

log = logging.getLogger("recsys")
_NAMES = [stage.name for stage in STAGES]


class Pipeline:
    """The stages and the artifacts of one config. What is up to date is not run again, as on the command line."""

    def __init__(self, *config: str | PipelineConfig) -> None:
        """config: YAML files and `key=value` pairs, later ones winning; or one config that is loaded already."""
        if len(config) == 1 and isinstance(config[0], PipelineConfig):
            self.config = config[0]
        else:
            words = [str(word) for word in config]
            self.config = config_of([w for w in words if "=" not in w], [w for w in words if "=" in w])
        set_up_logs("text")
        self._run: str | None = None  # the run that was worked in last

    @property
    def stages(self) -> list[str]:
        """Names of the stages, in order."""
        return list(_NAMES)

    @property
    def spark(self) -> SparkSession:
        """The session that the config describes, or the one that is there already, as on Databricks."""
        return get_session(self.config.session)

    def run(self, first: str | None = None, last: str | None = None, *, force: bool = False) -> dict[str, Metrics]:
        """Run one stage, the stages from `first` to `last`, or without names all; returns the metrics of each.

        What was made is what `read` gives from then on, also while its run is not complete and so not the current one.
        """
        start, end = _place(first or _NAMES[0]), _place(last or first or _NAMES[-1])
        if start > end:
            raise ConfigError(f"stage '{first}' comes after '{last}'; name the earlier one first")
        order = Order("Pipeline.run", force=force)
        with stages_done(STAGES[start : end + 1], self.config, order) as work:
            self._run = work.record.id
            return {name: outcome.metrics for name, outcome in work.outcomes.items()}

    def read(self, name: str, **keys: str) -> DataFrame | dict[str, Any]:
        """A table as a frame, a document as a dict: of the run that `run` worked in, else of the current one.

        keys: as in `read("rankings", model="two_stage", split="test")`. Raises ConfigError for an artifact that there
        never is, StageGraphError for keys that it does not take, ArtifactError for one that was not made yet.
        """
        artifact = _artifact(name)
        label = artifact.path_of(**keys)
        storage = self._storage(label)
        if artifact.kind == "json":
            return storage.read_json(label)
        if artifact.schema is None:
            raise ConfigError(f"'{name}' is a file: open {storage.path(label)}")
        return storage.read_table(label, artifact.schema)

    def path(self, name: str, **keys: str) -> str:
        """Where an artifact lies, as Python opens it, in the run that `read` takes it from."""
        label = _artifact(name).path_of(**keys)
        return self._storage(label).path(label)

    def _storage(self, label: str) -> Storage:
        """The run that was worked in last where it holds the artifact, else the current one."""
        root, session = RunRoot(self.config.paths.processed), partial(get_session, self.config.session)
        if self._run in [record.id for record in root.runs()]:
            last = Storage(root.folder(str(self._run)), session)
            current = root.current()
            if current is None or current.id == self._run or last.manifest(label) is not None:
                return last
            log.warning("run %s has no %s yet: taking that of %s, the current run", self._run, label, current.id)
        return storage_of(self.config.paths.processed, session)


def _place(stage: str) -> int:
    if stage not in _NAMES:
        raise ConfigError(f"there is no stage '{stage}'; the stages are {', '.join(_NAMES)}")
    return _NAMES.index(stage)


def _artifact(name: str) -> Artifact:
    if name not in ARTIFACTS:
        nearest = difflib.get_close_matches(name, ARTIFACTS, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; there are {', '.join(sorted(ARTIFACTS))}"
        raise ConfigError(f"there is no artifact '{name}'{hint}")
    return ARTIFACTS[name]
