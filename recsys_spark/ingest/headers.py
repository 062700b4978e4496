"""Source headers -> project columns."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recsys_spark.contracts.columns import LINE_COLUMNS, REQUIRED_COLUMNS
from recsys_spark.contracts.errors import ConfigError, DataError

Aliases = Mapping[str, Sequence[str]]

_SEPARATORS = {";": "a semicolon", "\t": "a tab", "|": "a bar", ",": "a comma"}
_TATWEEL = "\u0640"  # stretches Arabic words in print, means nothing


@dataclass(frozen=True)
class Headers:
    """The header row of one sheet or file.

    row: its number from 1, 0 where the format itself names the columns. texts: header by position, empty for an
    unnamed one. columns: project column -> position from 0.
    """

    row: int
    texts: tuple[str, ...]
    columns: dict[str, int]

    @property
    def others(self) -> list[tuple[str, int]]:
        """(key, position) of the columns that no project column takes, sorted by key; keys are unique.

        >>> Headers(1, ("Note", "", "Note"), {}).others
        [('Note', 0), ('Note (3)', 2), ('column_2', 1)]
        """
        taken = set(self.columns.values())
        keys: dict[str, int] = {}
        for position, text in enumerate(self.texts):
            if position not in taken:
                key = text or unnamed(position)
                keys[f"{key} ({position + 1})" if key in keys else key] = position
        return sorted(keys.items())

    def describe(self) -> str:
        """What was mapped and what was not, for the log."""
        mapped = ", ".join(f"{column} <- '{self.texts[at]}'" for column, at in self.columns.items())
        others = ", ".join(f"'{key}'" for key, _ in self.others)
        return f"mapped {mapped or 'nothing'}; other columns: {others or 'none'}"


def unnamed(position: int) -> str:
    """The key of a column without a header; `position` counts from 0."""
    return f"column_{position + 1}"


def normalise(header: str) -> str:
    """What two spellings of a header share: letters and digits, case folded, compatibility forms unified.

    >>> normalise("InvoiceNo") == normalise("Invoice No.") == normalise("invoice_no")
    True
    """
    folded = unicodedata.normalize("NFKC", header).casefold()
    return "".join(letter for letter in folded if letter.isalnum() and letter != _TATWEEL)


def find_headers(rows: Sequence[Sequence[str | None]], aliases: Aliases, where: str) -> Headers:
    """The first of the rows that names all required columns, or else the one that names the most project columns.

    The first row with a cell where none names any. A later row may name more than the first that names all required
    ones, where exports were stacked, but what lies between the two are lines.

    rows: the first rows of a sheet, the first of them being row 1. `where` opens the messages. Raises DataError
    where two headers of that row match one column, or where no row has a cell.
    """
    names = _names(aliases)
    filled = [number for number, row in enumerate(rows, start=1) if any(row)]
    if not filled:
        raise DataError(f"{where}: none of the first {len(rows)} rows has a cell; no header row found")
    found = {number: _columns(rows[number - 1], names) for number in filled}
    complete = [number for number in filled if found[number].issuperset(REQUIRED_COLUMNS)]
    best = complete[0] if complete else max(filled, key=lambda number: (len(found[number]), -number))
    return match_headers(rows[best - 1], aliases, where, row=best)


def match_headers(texts: Iterable[str | None], aliases: Aliases, where: str, row: int) -> Headers:
    """Map one header row. Raises DataError where two headers match one column."""
    names = _names(aliases)
    trimmed = tuple((text or "").strip() for text in texts)
    found: dict[str, int] = {}
    for position, text in enumerate(trimmed):
        column = names.get(normalise(text)) if text else None
        if column is None:
            continue
        if column in found:
            first = trimmed[found[column]]
            alias = f", or list in ingest.aliases.{column} only the one that is meant"
            advice = alias if normalise(first) != normalise(text) else " (aliases cannot tell the two apart)"
            raise DataError(f"{where}: two headers match {column}: '{first}' and '{text}'; rename one{advice}")
        found[column] = position
    return Headers(row, trimmed, {column: found[column] for column in LINE_COLUMNS if column in found})


def require_columns(headers: Headers, required: Iterable[str], aliases: Aliases, where: str) -> None:
    """Raise DataError for missing columns, with the headers found and the nearest one to each that is missing."""
    missing = [column for column in required if column not in headers.columns]
    if not missing:
        return
    found = ", ".join(f"'{text}'" for text in headers.texts if text) or "none"
    row = f" in row {headers.row}" if headers.row else ""
    hints = _separator_hint(headers) or " ".join(_hint(column, headers, aliases) for column in missing)
    raise DataError(f"{where}: no column for {', '.join(missing)}. Headers found{row}: {found}. {hints}")


def _separator_hint(headers: Headers) -> str:
    """What to do where one header is a whole row of them, which another separator would part; empty where none is."""
    for separator, name in _SEPARATORS.items():
        if any(text.count(separator) > 1 for text in headers.texts):
            return f"One header holds several, parted by {name}: set ingest.csv_separator to it."
    return ""


def _hint(column: str, headers: Headers, aliases: Aliases) -> str:
    spellings = {normalise(alias): alias for alias in (*aliases.get(column, ()), column)}
    free = {normalise(text): text for text, _ in headers.others}
    scores = [
        (difflib.SequenceMatcher(None, header, spelling).ratio(), free[header], spellings[spelling])
        for header in sorted(free)
        for spelling in sorted(spellings)
    ]
    advice = f"add the header that means it to ingest.aliases.{column}."
    if not scores:
        return f"For {column}, {advice}"
    _, header, alias = max(scores, key=lambda score: score[0])
    return f"Nearest to {column}: '{header}' (alias '{alias}'); rename it, or {advice}"


def _columns(row: Sequence[str | None], names: Mapping[str, str]) -> set[str]:
    return {names[key] for key in map(normalise, filter(None, row)) if key in names}


def _names(aliases: Aliases) -> dict[str, str]:
    """Normalised spelling -> column. Raises ConfigError where two columns claim one spelling."""
    names = {normalise(column): column for column in LINE_COLUMNS}
    for column, spellings in aliases.items():
        for spelling in spellings:
            owner = names.setdefault(normalise(spelling), column)
            if owner != column:
                raise ConfigError(f"ingest.aliases: '{spelling}' stands for both {owner} and {column}; remove one")
    return names
