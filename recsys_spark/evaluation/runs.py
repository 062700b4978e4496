"""A finished run as a whole: its tables, and what about its making differs from another run's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pyspark.sql import DataFrame

from recsys_spark.contracts.artifacts import ARTIFACTS, EVALUATION, FITS, RECOMMENDATIONS, SPLIT_CUTOFFS, Artifact
from recsys_spark.contracts.columns import SPLITS
from recsys_spark.contracts.dotted import flat
from recsys_spark.contracts.retriever_config import TOWERS
from recsys_spark.manifest import Manifest
from recsys_spark.source_files import SOURCE, is_source
from recsys_spark.storage import Storage

_KEYS: dict[str, tuple[str, ...]] = {  # of paths, but for `model`, whose values a run names
    "fit": ("early", *FITS),
    "split": SPLITS,
    "tower": TOWERS,
    "source": ("queries", "sequences"),
    "part": ("early", "fold", "dev", *SPLITS, "forced_val", "forced_test"),
}


@dataclass(frozen=True)
class Run:
    """Everything below one root, of which `evaluate` has been run."""

    storage: Storage

    def table(self, artifact: Artifact, **keys: str) -> DataFrame:
        """A table artifact of the run."""
        assert artifact.schema is not None
        return self.storage.read_table(artifact.path_of(**keys), artifact.schema)

    def evaluation(self) -> dict[str, Any]:
        """evaluation.json of the run."""
        return self.storage.read_json(EVALUATION.path)

    def cutoffs(self) -> dict[str, str]:
        """split_cutoffs.json of the run."""
        return self.storage.read_json(SPLIT_CUTOFFS.path)

    def test_end(self) -> str | None:
        """`evaluation.test_end` of the run's evaluation; None without one, or without an evaluation."""
        manifest = self.storage.manifest(EVALUATION.path)
        return manifest.config.get("evaluation", {}).get("test_end") if manifest else None

    def recommend_options(self) -> Mapping[str, Any]:
        """Section `recommend` of the config that the run's recommendations were made with; empty without any."""
        manifest = self.storage.manifest(RECOMMENDATIONS.path)
        return manifest.config.get("recommend", {}) if manifest else {}

    def models(self) -> list[str]:
        """The models that were evaluated."""
        return list(self.evaluation()["split"]["test"]["protocols"]["all_items"]["models"])

    def manifests(self) -> dict[str, Manifest]:
        """The manifest of every artifact that the run holds, by label."""
        keys = {**_KEYS, "model": self.models()}
        labels = (label for artifact in ARTIFACTS.values() for label in _labels(artifact, keys))
        found = ((label, self.storage.manifest(label)) for label in labels)
        return {label: manifest for label, manifest in found if manifest is not None}


def what_differs(first: Mapping[str, Manifest], second: Mapping[str, Manifest]) -> dict[str, Any]:
    """What may explain that two runs differ: config keys, source files, artifacts, code and libraries.

    Each entry is the pair of what the first and the second run have; null stands for what a run lacks.
    """
    return {
        "config": _pairs(_config(first), _config(second)),
        "sources": _pairs(_sources(first), _sources(second)),
        "rows": _pairs(*({label: _size(manifest) for label, manifest in run.items()} for run in (first, second))),
        "code": _pairs(*({m.stage: m.code_digest for m in run.values()} for run in (first, second))),
        "libraries": _pairs(*(_merged(m.libraries for m in run.values()) for run in (first, second))),
        "seeds": _pairs(*({m.stage: m.seed for m in run.values()} for run in (first, second))),
    }


def _labels(artifact: Artifact, keys: Mapping[str, Iterable[str]]) -> list[str]:
    choices = product(*(keys[key] for key in artifact.keys))
    return [artifact.path_of(**dict(zip(artifact.keys, chosen, strict=True))) for chosen in choices]


def _config(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    return _merged(flat(manifest.config) for manifest in manifests.values())


def _sources(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    inputs = _merged(manifest.inputs for manifest in manifests.values())
    return {name.removeprefix(SOURCE): content for name, content in inputs.items() if is_source(name)}


def _size(manifest: Manifest) -> str | None:
    """Rows and fingerprint of a table; other artifacts follow from these and are not listed."""
    return f"{manifest.rows:,} rows, {manifest.content}" if manifest.rows is not None else None


def _merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = sorted(first.keys() | second.keys())
    return {name: [first.get(name), second.get(name)] for name in names if first.get(name) != second.get(name)}
