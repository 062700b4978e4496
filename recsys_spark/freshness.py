"""Whether what a stage made still is what it would make now."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from recsys_spark.code_version import code_digest
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.manifest import digest_of
from recsys_spark.source_files import SOURCE, is_source, source_digests
from recsys_spark.storage import Storage

if TYPE_CHECKING:  # which asks these questions before it runs
    from recsys_spark.stage import Stage

ABSENT = "absent"  # stands for the content of an optional input that was not there
log = logging.getLogger("recsys")


def sections_of(stage: Stage, config: PipelineConfig) -> dict[str, Any]:
    """The config sections that a stage declares, as plain values."""
    return {section: dataclasses.asdict(getattr(config, section)) for section in stage.sections}


def facts_of(stage: Stage, config: PipelineConfig) -> dict[str, str]:
    """The facts that a stage declares, named as sources are."""
    return {SOURCE + name: digest for name, digest in (stage.facts(config) if stage.facts else {}).items()}


def given_to(stage: Stage, config: PipelineConfig) -> dict[str, str]:
    """Digests of all that a stage is given and no stage wrote, by `source:<name>`: source files, and its facts."""
    return source_digests(stage.sources(config) if stage.sources else ()) | facts_of(stage, config)


def recipe_of(stage: Stage, config: PipelineConfig, given: dict[str, str]) -> str:
    """Digest of all that a stage's outputs follow from, except what other stages wrote. given: of `given_to`."""
    return digest_of([sections_of(stage, config), config.seed, code_digest(stage.module), given])


def is_fresh(
    record: dict[str, Any], recipe: str, storage: Storage, verify: str, outputs: Storage | None = None
) -> bool:
    """Whether a stage's record matches its recipe and inputs, and its outputs are whole.

    outputs: where these lie, if not where the inputs do.
    """
    if record["recipe"] != recipe or not reads_the_same(record, storage):
        return False
    made_in = outputs or storage
    try:
        return all(made_in.require(label, verify).content == content for label, content in record["outputs"].items())
    except ArtifactError as error:
        log.warning("%s", error)
        return False


def reads_the_same(record: dict[str, Any], storage: Storage) -> bool:
    """Whether the artifacts that a stage read are what they were then."""
    for label, content in record["inputs"].items():
        if is_source(label):
            continue
        manifest = storage.manifest(label)
        if content != (ABSENT if manifest is None else manifest.content):
            return False
    return True


def has_outputs(record: dict[str, Any], storage: Storage) -> bool:
    """Whether all artifacts that a stage wrote are there, whatever they hold by now."""
    return all(storage.manifest(label) is not None for label in record["outputs"])
