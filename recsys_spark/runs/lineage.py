"""Where an artifact comes from: back through the inputs in manifests to the source files, with what each held."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from recsys_spark.contracts.artifacts import ARTIFACTS
from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.source_files import SOURCE, is_source
from recsys_spark.storage import Storage

_ENDINGS = ("", ".parquet", ".json", "_shards")


@dataclass(frozen=True)
class Origin:
    """One artifact or source file.

    content: its fingerprint now; of a source what it was when it was read. stage: what wrote it, empty for a source and
    for what is not there now. inputs: what the stage had read before, by label, with the content that it had then.
    """

    label: str
    content: str
    stage: str
    created: str
    rows: int | None
    inputs: dict[str, str]


def lineage(storage: Storage, name: str) -> dict[str, Origin]:
    """The artifact and everything behind it, each once, the artifact first.

    Raises ArtifactError for a name that is no artifact of the run.
    """
    waiting, found = [(label_of(storage, name), "")], dict[str, Origin]()
    while waiting:
        label, content = waiting.pop(0)
        if label not in found:
            found[label] = _origin(storage, label, content)
            waiting += found[label].inputs.items()
    return found


def label_of(storage: Storage, name: str) -> str:
    """The label of an artifact that is named by its path or by its kind: `evaluation.json`, `rejected_lines`."""
    artifact = ARTIFACTS.get(name)
    tried = [f"{name}{ending}" for ending in _ENDINGS]
    if artifact is not None and not artifact.keys:
        tried.insert(0, artifact.path)
    for label in tried:
        if storage.manifest(label) is not None:
            return label
    known = f"; it is one for each {', '.join(artifact.keys)}: {artifact.path}" if artifact and artifact.keys else ""
    raise ArtifactError(f"'{storage.location}' holds no artifact '{name}'{known}")


def lineage_tree(origins: dict[str, Origin]) -> str:
    """The lineage as an indented tree, each artifact once; what was shown before is named only.

    An input that also lies behind another input is shown there, unless it was replaced since it was read.
    """
    lines, shown, behind = [], set[str](), _behind(origins)

    def show(label: str, depth: int, content: str) -> None:
        origin, indent = origins[label], "  " * depth
        shown.add(label)
        lines.append(f"{indent}{_line(origin, content)}")
        above = []
        for below, read in origin.inputs.items():
            is_replaced = read != origins[below].content
            if below in shown and not is_replaced:
                above.append(below)
            elif is_replaced or not any(below in behind[other] for other in origin.inputs):
                show(below, depth + 1, read)
        if above := [below for below in above if not any(below in behind[other] for other in origin.inputs)]:
            lines.append(f"{indent}  (above) {', '.join(above)}")

    first = next(iter(origins))
    show(first, 0, origins[first].content)
    return "\n".join(lines)


def _behind(origins: dict[str, Origin]) -> dict[str, set[str]]:
    """Everything behind each artifact."""
    found: dict[str, set[str]] = {}

    def look(label: str) -> set[str]:
        if label not in found:
            found[label] = set()  # inputs form no circle, unless a manifest was tampered with
            found[label] = set(origins[label].inputs).union(*(look(below) for below in origins[label].inputs))
        return found[label]

    for label in origins:
        look(label)
    return found


def lineage_values(origins: dict[str, Origin]) -> dict[str, Any]:
    """The lineage as plain values: what is asked for, and each artifact by its label."""
    return {"artifact": next(iter(origins)), "origins": {label: asdict(origin) for label, origin in origins.items()}}


def _origin(storage: Storage, label: str, content: str) -> Origin:
    if is_source(label):
        return Origin(label, content, "", "", None, {})
    manifest = storage.manifest(label)
    if manifest is None:
        return Origin(label, "", "", "", None, {})
    return Origin(label, manifest.content, manifest.stage, manifest.created, manifest.rows, dict(manifest.inputs))


def _line(origin: Origin, read: str) -> str:
    if is_source(origin.label):
        return f"{origin.label.removeprefix(SOURCE)}  digest {origin.content}"
    if not origin.stage:
        return f"{origin.label}  (not there now; was {read} when it was read)"
    rows = f", {origin.rows:,} rows" if origin.rows is not None else ""
    since = f"; replaced since, was {read} when it was read" if read != origin.content else ""
    return f"{origin.label}  by {origin.stage} at {origin.created[:19]}{rows}, {origin.content[:32]}{since}"
