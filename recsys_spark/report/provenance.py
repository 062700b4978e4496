"""How the run came about: the stages behind the report, with versions, digests, config and seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from recsys_spark.manifest import Manifest, digest_of
from recsys_spark.source_files import SOURCE, is_source
from recsys_spark.storage import Storage


def run_facts(storage: Storage, labels: Iterable[str]) -> dict[str, Any]:
    """What the artifacts under the labels, and all that they were made from, say of the run.

    stages: in the order in which one needs the other. config: the sections that these stages used. Where stages ran
    under different versions of a library, the values are joined by a slash.
    """
    stages: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    libraries: dict[str, set[str]] = {}
    sources: dict[str, str] = {}
    for name, manifests, record in _stages_behind(storage, labels):
        config.update({section: values for one in manifests for section, values in one.config.items()})
        for one in manifests:
            for library, version in one.libraries.items():
                libraries.setdefault(library, set()).add(version)
        found = record["inputs"]
        sources.update({key.removeprefix(SOURCE): found[key] for key in found if is_source(key)})
        stages.append(_stage(name, manifests, record))
    return {
        "stages": stages,
        "seconds": sum(stage["seconds"] for stage in stages),
        "libraries": {library: " / ".join(sorted(found)) for library, found in sorted(libraries.items())},
        "sources": {name: sources[path] for path, name in shortest_names(sources).items()},
        "config": dict(sorted(config.items())),
        "config_digest": digest_of(config),
        "seeds": sorted({stage["seed"] for stage in stages}),
        "code_versions": sorted({stage["code_version"] for stage in stages}),
    }


def shortest_names(paths: Iterable[str]) -> dict[str, str]:
    """Of each path, ascending, its name, with as many folders before it as tell it from the others.

    >>> shortest_names(["/data/2023/sales.csv", "/data/2024/sales.csv", "/data/2024/shops.csv"]).values()
    dict_values(['2023/sales.csv', '2024/sales.csv', 'shops.csv'])
    """
    parts = {path: PurePosixPath(path).parts for path in sorted(paths)}
    tails = {path: [own[-size:] for size in range(1, len(own) + 1)] for path, own in parts.items()}
    counts = Counter(tail for own in tails.values() for tail in own)
    shortest = {path: next((tail for tail in own if counts[tail] == 1), own[-1]) for path, own in tails.items()}
    return {path: str(PurePosixPath(*tail)) for path, tail in shortest.items()}


def _stage(name: str, manifests: list[Manifest], record: dict[str, Any]) -> dict[str, Any]:
    newest = max(manifests, key=lambda one: one.created)
    return {
        "stage": name,
        "seconds": record["seconds"],
        "created": newest.created,
        "artifacts": len(manifests),
        "rows": sum(one.rows or 0 for one in manifests),
        "bytes": sum(one.bytes for one in manifests),
        "code_version": newest.code_version,
        "code_digest": newest.code_digest,
        "config_digest": newest.config_digest,
        "seed": newest.seed,
    }


def _stages_behind(storage: Storage, labels: Iterable[str]) -> Iterator[tuple[str, list[Manifest], dict[str, Any]]]:
    """Each stage after those it reads from: its name, the manifests of what it wrote, and its record."""
    seen: set[str] = set()

    def visit(label: str) -> Iterator[tuple[str, list[Manifest], dict[str, Any]]]:
        manifest = storage.manifest(label)
        if manifest is None or manifest.stage in seen:
            return
        seen.add(manifest.stage)
        record = storage.stage_record(manifest.stage)
        if record is None:  # it was killed before it wrote one
            return
        for needed in sorted(record["inputs"]):
            if not is_source(needed):
                yield from visit(needed)
        written = [one for output in sorted(record["outputs"]) if (one := storage.manifest(output)) is not None]
        if written:
            yield manifest.stage, written, record

    for label in sorted(labels):
        yield from visit(label)
