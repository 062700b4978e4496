"""A digest of the project code that a stage runs, so that a change of one stage leaves the others fresh."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec

__version__ = "0.1.0"
_PROJECT = ("jobs", "recsys_spark", "training")
_APART = ("recsys_spark.command_line",)  # starts stages and keeps runs, and has no part in what a stage makes


def code_digest(module: str) -> str:
    """Digest of a module's source and of every project module it imports, however deep, by way of stages' own code.

    What lies in the folder `templates` of their packages counts too. Sources are read through their loader, so this
    also works from the zip given to `--py-files`.
    """
    digest = hashlib.sha256()
    names = sorted(_reachable(module))
    for name in names:
        digest.update(f"{name}\n{_source(name)}\n".encode())
    for package in sorted({name.rpartition(".")[0] for name in names} - {""}):
        for name, content in _templates(package):
            digest.update(f"{package}/{name}\n".encode() + content)
    return digest.hexdigest()[:16]


def _templates(package: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in the folder `templates` of a package, which is not imported."""
    spec = _spec(package)
    reader = getattr(spec.loader, "get_resource_reader", None) if spec else None
    folder = reader(package).files().joinpath("templates") if reader else None
    if folder is not None and folder.is_dir():
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            yield file.name, file.read_bytes()


def _reachable(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name in _APART or _source(name) is None:
            continue
        seen.add(name)
        waiting += _imports(name)
    return seen


@functools.cache
def _imports(module: str) -> list[str]:
    """Names that a module imports from the project; `from package import name` may name a module."""
    found = []
    for node in ast.walk(ast.parse(_source(module) or "")):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.split(".")[0] in _PROJECT]


@functools.cache
def _source(module: str) -> str | None:
    """Source text of a module, None where there is no such module."""
    spec = _spec(module)
    loader = spec.loader if spec else None
    if loader is None or not hasattr(loader, "get_source"):
        return None
    return loader.get_source(module) or ""


def _spec(module: str) -> ModuleSpec | None:
    """As importlib.util.find_spec, which imports what stands before the last dot, and torch with it."""
    parent, _, _ = module.rpartition(".")
    if not parent:
        return importlib.util.find_spec(module)
    above = _spec(parent)
    if above is None or above.submodule_search_locations is None:
        return None
    found = (finder.find_spec(module, above.submodule_search_locations) for finder in sys.meta_path)
    return next(filter(None, found), None)
