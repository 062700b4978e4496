"""Tables of any JSON value, for results whose shape the report need not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Cell:
    """One cell. keys: where a number, or the two of an interval, stand in the document; else text says it."""

    keys: Keys = ()
    kind: str = "text"  # text | number | interval
    text: str = ""


@dataclass(frozen=True)
class Block:
    """One table: a title, what the columns are called, and rows that begin with a name."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def tables_of(value: Any, keys: Keys, title: str) -> list[Block]:
    """A value as tables: plain entries side by side in one, what lies deeper in tables of its own.

    >>> [block.title for block in tables_of({"a": 1, "b": {"c": 2}}, ("x",), "importance")]
    ['importance', 'importance, b']
    """
    named = _named(value)
    if not named:
        return []
    if all(isinstance(one, Mapping) and one and _is_flat(one) for one in named.values()):
        return [_wide(named, keys, title)]
    plain = {key: one for key, one in named.items() if _is_plain(one)}
    blocks = [_narrow(plain, keys, title)] if plain else []
    for key, one in named.items():
        if key not in plain:
            blocks += tables_of(one, (*keys, key), f"{title}, {_spelled(key)}")
    return blocks


def _named(value: Any) -> dict[str | int, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list) else {}


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping | list) or _is_interval(value) or value in ([], {})


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value)


def _is_flat(value: Mapping[str, Any]) -> bool:
    return all(_is_plain(one) for one in value.values())


def _wide(named: Mapping[str | int, Any], keys: Keys, title: str) -> Block:
    """Entries as rows. Those of a list go by what their texts say, where each has some, else by their numbers."""
    columns = list(dict.fromkeys(column for one in named.values() for column in one))
    texts = [column for column in columns if all(isinstance(one.get(column), str) for one in named.values())]
    is_listed = bool(texts) and all(isinstance(key, int) for key in named)
    columns = [column for column in columns if not is_listed or column not in texts]
    rows = tuple(
        (
            ", ".join(one[column] for column in texts) if is_listed else _spelled(key),
            tuple(_cell(one.get(column), (*keys, key, column)) for column in columns),
        )
        for key, one in named.items()
    )
    return Block(title, (", ".join(texts) if is_listed else "", *(_spelled(column) for column in columns)), rows)


def _narrow(plain: Mapping[str | int, Any], keys: Keys, title: str) -> Block:
    rows = tuple((_spelled(key), (_cell(one, (*keys, key)),)) for key, one in plain.items())
    return Block(title, ("", "value"), rows)


def _cell(value: Any, keys: Keys) -> Cell:
    if isinstance(value, bool) or value is None or value in ([], {}):
        return Cell(text={True: "yes", False: "no"}[value] if isinstance(value, bool) else "n/a")
    if isinstance(value, int | float):
        return Cell(keys, "number")
    return Cell(keys, "interval") if _is_interval(value) else Cell(text=str(value))


def _spelled(key: str | int) -> str:
    return str(key + 1) if isinstance(key, int) else key


def flattened(values: Mapping[str, Any], prefix: str = "") -> Sequence[tuple[str, str]]:
    """Nested settings as `key.key` and value.

    >>> flattened({"a": {"b": 1, "c": [1, 2]}})
    [('a.b', '1'), ('a.c', '[1, 2]')]
    """
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            pairs += flattened(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs
