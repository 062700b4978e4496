"""Why a stage would run again, as a person asks it: which keys, which inputs, which code, which file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from recsys_spark.code_version import code_digest
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.dotted import flat
from recsys_spark.contracts.errors import ArtifactError, PipelineError
from recsys_spark.freshness import ABSENT, given_to, recipe_of, sections_of
from recsys_spark.manifest import Manifest
from recsys_spark.source_files import SOURCE, is_source
from recsys_spark.stage import Stage
from recsys_spark.storage import Storage

_SHOWN = 3  # of the names that a reason lists


@dataclasses.dataclass(frozen=True)
class Reason:
    """kind: input, config, code or outputs. text: one phrase that names what differs."""

    kind: str
    text: str


def reasons(stage: Stage, config: PipelineConfig, storage: Storage, record: Mapping[str, Any]) -> list[Reason]:
    """Everything about which a stage's record differs from what running it now would see; empty where it is fresh."""
    try:
        sources = given_to(stage, config)
    except (PipelineError, OSError) as error:
        return [Reason("input", str(error))]
    made = next((one for label in record["outputs"] if (one := storage.manifest(label))), None)
    found = [*_inputs(sources, storage, record), *(_recipe(stage, config, made) if made else [])]
    if not found and record["recipe"] != recipe_of(stage, config, sources):
        found.append(Reason("config", "config, code or sources changed"))
    return [*found, *_outputs(storage, record)]


def _inputs(found: dict[str, str], storage: Storage, record: Mapping[str, Any]) -> list[Reason]:
    before = {label: content for label, content in record["inputs"].items() if is_source(label)}
    changed = [label for label in {**before, **found} if before.get(label) != found.get(label)]
    for label in record["inputs"].keys() - before.keys():
        manifest = storage.manifest(label)
        if record["inputs"][label] != (ABSENT if manifest is None else manifest.content):
            changed.append(label)
    return [Reason("input", f"{_some(changed)} changed")] if changed else []


def _recipe(stage: Stage, config: PipelineConfig, made: Manifest) -> list[Reason]:
    now = json.loads(json.dumps(sections_of(stage, config)))
    before, after = flat({**made.config, "seed": made.seed}), flat({**now, "seed": config.seed})
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    found = [Reason("config", f"{_some(keys)} changed")] if keys else []
    if made.code_digest != code_digest(stage.module):
        found.append(Reason("code", "code changed"))
    return found


def _outputs(storage: Storage, record: Mapping[str, Any]) -> list[Reason]:
    try:
        replaced = [label for label, content in record["outputs"].items() if storage.require(label).content != content]
    except ArtifactError as error:
        return [Reason("outputs", str(error))]
    return [Reason("outputs", f"{_some(replaced)} replaced since")] if replaced else []


def _some(names: list[str]) -> str:
    names = sorted(name.removeprefix(SOURCE) for name in names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
