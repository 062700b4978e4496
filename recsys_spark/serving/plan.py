"""Which run is served, by which fit and models; and what a bundle of it is made from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from fsspec.implementations.local import LocalFileSystem

from recsys_spark.baselines.ranking import Model
from recsys_spark.code_version import code_digest
from recsys_spark.command_line import open_storage, storage_of
from recsys_spark.contracts.artifacts import CUSTOMER_ID_MAP, EVALUATION, INTERACTIONS_CLEAN, ITEM_ID_MAP, ITEMS_CLEAN
from recsys_spark.contracts.columns import LIST_PROTOCOLS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ArtifactError, ConfigError
from recsys_spark.contracts.serve_config import BUNDLES
from recsys_spark.manifest import digest_of
from recsys_spark.paths import filesystem
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.recommendations.fitted_rules import fitted_evidence, rule_files
from recsys_spark.recommendations.named_model import NamedModelSettings, named_model
from recsys_spark.source_files import source_digests
from recsys_spark.stage import Stage, StageIO
from recsys_spark.storage import Storage

FORMAT = 3  # of bundles
FITS_NEWEST_FIRST = ("full", "val", "train")
_TABLES = (INTERACTIONS_CLEAN, CUSTOMER_ID_MAP, ITEM_ID_MAP, ITEMS_CLEAN)
_LAST_STAGE = "recommend"
_OF_REQUESTS = ("top_n", "share_new", "as_of", "new_lines")  # said by a request, or of the batch run alone
log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Served:
    """What is to be served. stage: declares what is read. settings: of whatever may rank."""

    config: PipelineConfig
    stage: Stage
    settings: NamedModelSettings


@dataclass(frozen=True)
class Plan:
    """A bundle of a run. run: its name. digest: of all that goes into the bundle. models: by protocol. inputs: content
    of each artifact that is read; model_labels: those among them that models and reasons are made of. tables: digests
    of the files that the business keeps.
    """

    run: str
    fit: str
    digest: str
    names: Mapping[str, str]
    models: Mapping[str, Model]
    inputs: Mapping[str, str]
    model_labels: tuple[str, ...]
    tables: Mapping[str, str]


def run_to_serve(config: PipelineConfig, with_session: bool = False) -> Storage:
    """The current run, whose recommendations are served; without a session only its files and documents can be had."""
    return open_storage(config) if with_session else storage_of(config.paths.processed)


def is_unchanged(storage: Storage, inputs: Mapping[str, str]) -> bool:
    """Whether every artifact still has the content that it had; reads manifests alone."""
    found = (storage.manifest(label) for label in inputs)
    return all(one is not None and one.content == content for one, content in zip(found, inputs.values(), strict=True))


def plan_of(served: Served, storage: Storage) -> Plan:
    """Raises ArtifactError where a model's artifacts are missing, or are of other inputs than the last stage's were."""
    first_error: ArtifactError | None = None
    for fit in FITS_NEWEST_FIRST:
        try:
            plan = _plan_of_fit(served, storage, fit)
        except ArtifactError as error:
            log.warning("fit=%s cannot be served: %s", fit, error)
            first_error = first_error or error
            continue
        _require_finished(storage, plan.inputs)
        return plan
    raise first_error or ArtifactError("there is no fit to serve")


def models_of(io: StageIO, settings: NamedModelSettings, names: Mapping[str, str], fit: str) -> dict[str, Model]:
    """The models by protocol; one that serves both is built once, as the protocol only decides how it was tuned."""
    return {protocol: named_model(io, name, protocol, fit, settings) for protocol, name in names.items()}


def bundles_folder(config: PipelineConfig, storage: Storage) -> Path:
    """Where the bundles of a run lie. Raises ConfigError where that would not be local."""
    if config.serve.folder:
        return Path(config.serve.folder).absolute()
    fs, plain = filesystem(storage.location)
    if not isinstance(fs, LocalFileSystem):
        raise ConfigError(f"bundles are mapped from local disk, and {storage.location} is not; set serve.folder")
    return Path(plain) / BUNDLES


def _plan_of_fit(served: Served, storage: Storage, fit: str) -> Plan:
    io = StageIO(served.stage, storage, served.config)
    best = io.read_json(EVALUATION)["best"]
    names = {protocol: best[protocol] for protocol in LIST_PROTOCOLS}
    models = models_of(io, served.settings, names, fit)
    fitted_evidence(io, served.settings, served.config.recommend.reasons.recent_items, fit)
    model_labels = tuple(label for label in io.inputs if label != EVALUATION.path)
    for table in _TABLES:
        io.path_and_content(table)
    tables = tables_of_rules(served.config)
    whole = [FORMAT, io.inputs, names, fit, tables, _told(served), code_digest("recsys_spark.serving.prepare")]
    run = PurePosixPath(storage.location).name
    return Plan(run, fit, digest_of(whole), names, models, dict(io.inputs), model_labels, tables)


def tables_of_rules(config: PipelineConfig) -> dict[str, str]:
    """Digests of the files that the business keeps, by `source:<path>`. Raises ConfigError for a missing one."""
    return source_digests(rule_files(config.recommend))


def _told(served: Served) -> list[object]:
    """The config that an answer follows from, beside what a request says."""
    config = served.config
    rules = {name: value for name, value in asdict(config.recommend).items() if name not in _OF_REQUESTS}
    told: list[object] = [asdict(served.settings), asdict(config.sequences), rules]
    if rule_files(config.recommend):
        entry = CustomerEntry.of(config.ingest, config.paths.processed).facts()
        told += [asdict(config.ingest), asdict(config.clean.dates), entry]
    return told


def _require_finished(storage: Storage, inputs: Mapping[str, str]) -> None:
    """A run that is being written anew holds artifacts of two runs until its last stage has run."""
    record = storage.stage_record(_LAST_STAGE)
    if record is None:
        return
    known = record["inputs"]
    odd = [label for label, content in inputs.items() if known.get(label, content) != content]
    if odd:
        raise ArtifactError(
            f"{storage.location} is not finished: {odd[0]} is newer than what stage '{_LAST_STAGE}' used; run recsys"
        )
