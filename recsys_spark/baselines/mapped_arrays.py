"""What loaders make of fitted tables, kept in the process, and beside the table as .npy files where that is asked for.

A server whose tables have such files maps them instead of computing them: it starts at once, and the processes of a
machine share the pages. A batch run writes none. Nothing is pickled.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
from scipy import sparse

from recsys_spark.manifest import digest_of

SUFFIX = ".arrays"  # of the folder beside a table
_SHAPES = "shapes.json"  # written last
_KEEPING: ContextVar[bool] = ContextVar("keeping", default=False)

Loader = TypeVar("Loader", bound=Callable[..., Any])


def mapped(maxsize: int) -> Callable[[Loader], Loader]:
    """Let a loader keep the last `maxsize` results; one whose table has them in files maps these.

    The loader's first argument is the FittedTable beside whose path the files lie. It returns an array, a CSR matrix, a
    dataclass of arrays, or a tuple of such; its annotation says which.
    """

    def decorate(load: Loader) -> Loader:
        @functools.lru_cache(maxsize=maxsize)
        @functools.wraps(load)
        def found(table: Any, *arguments: Any) -> Any:
            told = [getattr(argument, "content", argument) for argument in arguments]
            folder = Path(f"{table.path}{SUFFIX}") / f"{load.__name__.strip('_')}-{digest_of(told)}"
            if (folder / _SHAPES).exists():
                return read_arrays(folder, get_type_hints(load)["return"])
            value = load(table, *arguments)
            if _KEEPING.get():
                write_arrays(folder, value)
            return value

        return cast(Loader, found)

    return decorate


@contextmanager
def keeping_arrays() -> Iterator[None]:
    """Within, what mapped loaders compute is written beside their tables, whose paths must be local."""
    token = _KEEPING.set(True)
    try:
        yield
    finally:
        _KEEPING.reset(token)


def write_arrays(folder: Path, value: Any) -> None:
    """An array, a CSR matrix, a dataclass of arrays, or a tuple of such, as .npy files."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, list[int]] = {}
    for name, array in _named("value", value, shapes):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    (folder / _SHAPES).write_text(json.dumps(shapes), encoding="utf-8")


def read_arrays(folder: Path, kind: Any) -> Any:
    """What `write_arrays` wrote, memory-mapped. kind: its type, such as `tuple[sparse.csr_matrix, Ints]`."""
    return _of_kind(folder, "value", kind, json.loads((folder / _SHAPES).read_text(encoding="utf-8")))


def map_array(path: Path) -> np.ndarray:
    """The array of a .npy file; a plain array over the mapped pages, as indexing np.memmap costs several times more."""
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    found = np.load(path, allow_pickle=False) if _is_empty(path) else np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(found)


def _is_empty(path: Path) -> bool:
    """Whether the array has no element: such a one cannot be mapped."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return 0 in read(file)[0]


def _named(name: str, value: Any, shapes: dict[str, list[int]]) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, tuple):
        for place, part in enumerate(value):
            yield from _named(f"{name}.{place}", part, shapes)
    elif sparse.issparse(value):
        shapes[name] = [int(size) for size in value.shape]
        for part in ("data", "indices", "indptr"):
            yield f"{name}.{part}", getattr(value, part)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _named(f"{name}.{field.name}", getattr(value, field.name), shapes)
    else:
        yield name, value


def _of_kind(folder: Path, name: str, kind: Any, shapes: dict[str, list[int]]) -> Any:
    if get_origin(kind) is tuple:
        return tuple(_of_kind(folder, f"{name}.{place}", part, shapes) for place, part in enumerate(get_args(kind)))
    if kind is sparse.csr_matrix:
        parts = tuple(map_array(folder / f"{name}.{part}.npy") for part in ("data", "indices", "indptr"))
        matrix = sparse.csr_matrix(parts, shape=tuple(shapes[name]), copy=False)
        matrix.has_sorted_indices = matrix.has_canonical_format = True  # as loaders leave them; finding out reads all
        return matrix
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        values = {
            field.name: _of_kind(folder, f"{name}.{field.name}", hints[field.name], shapes) for field in fields(kind)
        }
        return cast(Any, kind)(**values)
    return map_array(folder / f"{name}.npy")
