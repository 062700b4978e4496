"""Which files below a root may hold something of a single customer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from fsspec import AbstractFileSystem

from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import ARTIFACTS, Artifact
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.serve_config import BUNDLES
from recsys_spark.manifest import SUFFIX
from recsys_spark.storage import CHECKPOINTS, MARKER, STAGING

CUSTOMER_COLUMNS = frozenset(("customer_id", "user_idx", "query_id"))  # a query's id begins with the customer's index
# Files without a row per customer. A file that is not named here is taken to have one.
_FREE = (
    artifacts.ITEM_EMBEDDINGS,
    artifacts.ITEM_OFFSETS,
    artifacts.ITEM_INDEX,
    artifacts.ITEM_INDEX_CARD,
    artifacts.TOWER_JOB,
    artifacts.RANKER_BEST,
    artifacts.RANKER_JOB,
)
_NO_ARTIFACTS = (STAGING, CHECKPOINTS, BUNDLES)  # the first two of runs that were killed


def holds_customers(artifact: Artifact) -> bool:
    """Whether an artifact has rows of single customers: by its columns, or unless it is known to have none."""
    if artifact.schema is not None:
        return not CUSTOMER_COLUMNS.isdisjoint(artifact.schema.names)
    return artifact.kind == "file" and artifact not in _FREE


def run_folders(fs: AbstractFileSystem, root: str) -> list[str]:
    """The root and all folders below it in which stages keep artifacts (folds, seeds, runs), as `fs` spells them.

    Raises ConfigError for a root without any.
    """
    signs = (MARKER, artifacts.RAW_LINES.path + SUFFIX, artifacts.CUSTOMER_ID_MAP.path + SUFFIX)
    found = {str(PurePosixPath(path).parent) for path in fs.find(root) if PurePosixPath(path).name in signs}
    if not found:
        raise ConfigError(f"paths.processed '{root}' holds no run; give the config that the runs were made with")
    return sorted(found | {root})


def own_files(fs: AbstractFileSystem, folder: str, folders: Iterable[str]) -> Iterator[str]:
    """Files of a run folder by their path below it, without those of the run folders inside."""
    inner = tuple(f"{each}/" for each in folders if each.startswith(f"{folder}/"))
    for path in fs.find(folder):
        if not path.startswith(inner):
            yield path[len(folder) + 1 :]


def labels_with_customers(files: Iterable[str]) -> list[str]:
    """What is to go from a run folder: artifacts that hold customers, those of other versions, bundles and left-overs.

    raw_lines is not among them: it is rewritten. What has no customer's own id comes first, so that a customer whose
    removal was interrupted is found again.
    """
    found: dict[str, bool] = {}
    for file in files:
        first = file.split("/")[0]
        if first in _NO_ARTIFACTS:
            found[first] = False
            continue
        label, artifact = _label_of(file)
        if artifact is None and file.endswith(SUFFIX):
            found[label] = False
        elif artifact not in (None, artifacts.RAW_LINES) and holds_customers(artifact):
            found[label] = "customer_id" in _names(artifact)
    return sorted(found, key=lambda label: (found[label], label))


def _label_of(file: str) -> tuple[str, Artifact | None]:
    """The label that a file belongs to, and its artifact; the file's own path where there is none."""
    plain = file.removesuffix(SUFFIX)
    parts = plain.split("/")
    for length in range(1, len(parts) + 1):
        label = "/".join(parts[:length])
        for artifact in ARTIFACTS.values():
            if artifact.matches(label):
                return label, artifact
    return plain, None


def _names(artifact: Artifact) -> list[str]:
    return artifact.schema.names if artifact.schema is not None else []
