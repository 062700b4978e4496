"""Stages that write a few words of JSON and need no Spark, under names of stages of the product."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from recsys_spark.contracts.artifacts import Artifact
from recsys_spark.contracts.config import PathsConfig, PipelineConfig
from recsys_spark.contracts.load_config import load_config
from recsys_spark.runs.pipeline import Order, stages_done
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.work import Work
from recsys_spark.stage import Metrics, Stage, StageIO

NAMES = ("ingest", "clean", "recommend")
LINES = Artifact("lines", kind="json", path="lines.json")
CLEANED = Artifact("cleaned", kind="json", path="fit=full/cleaned.json")
LISTS = Artifact("lists", kind="json", path="lists.json")


@functools.cache
def _loaded(pairs: tuple[str, ...]) -> PipelineConfig:
    return load_config(pairs=pairs)


@dataclass
class Shop:
    """ingest -> clean -> recommend over one source file. ran: the stages that did; failing: those that raise."""

    folder: Path
    ran: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.source = self.folder / "lines.txt"
        self.source.write_text("a b")
        self.root = self.folder / "root"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The three stages; sections are `sequences`, `queries` and `evaluation`."""
        named = lambda _config: [str(self.source)]  # noqa: E731
        return (
            Stage("ingest", (), (LINES,), ("sequences",), self._ingest, named),
            Stage("clean", (LINES,), (CLEANED,), ("queries",), self._clean),
            Stage("recommend", (CLEANED,), (LISTS,), ("evaluation",), self._recommend),
        )

    def config(self, *pairs: str) -> PipelineConfig:
        config = _loaded(pairs)
        if config.paths == PathsConfig():
            return replace(config, paths=PathsConfig(processed=str(self.root)))
        return config

    def run(self, *pairs: str, last: int = 3, first: int = 0, **order: object) -> Work:
        """All stages, or some of them; `ran` then holds those that did."""
        self.ran.clear()
        given = Order("test", **order)  # type: ignore[arg-type]
        with stages_done(self.stages[first:last], self.config(*pairs), given) as work:
            return work

    def _begin(self, stage: str) -> None:
        self.ran.append(stage)
        if stage in self.failing:
            raise ZeroDivisionError(stage)

    def _ingest(self, io: StageIO, config: PipelineConfig) -> Metrics:
        self._begin("ingest")
        io.write_json(LINES, {"words": self.source.read_text().split()})
        return {}

    def _clean(self, io: StageIO, config: PipelineConfig) -> Metrics:
        self._begin("clean")
        io.write_json(CLEANED, {"words": sorted({word.upper() for word in io.read_json(LINES)["words"]})})
        return {}

    def _recommend(self, io: StageIO, config: PipelineConfig) -> Metrics:
        self._begin("recommend")
        io.write_json(LISTS, {"first": io.read_json(CLEANED)["words"][0]})
        return {}

    def ids(self) -> list[str]:
        """Of all runs, the oldest first."""
        return [record.id for record in RunRoot(str(self.root)).runs()]

    def pointer(self) -> str:
        """The id that current.json names."""
        return str(json.loads((self.root / "current.json").read_text())["run"])
