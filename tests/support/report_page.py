"""The figures of a report, read back from its HTML, and the JSON that they should equal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "br", "input", "hr", "img"}


@dataclass
class Shown:
    """A figure: the numbers that its element states, where they come from, and the text that a reader sees."""

    values: list[float]
    place: str | None
    text: str = ""


@dataclass
class ReportPage(HTMLParser):
    """Reads a page: its figures, tags with their attributes, and the text of each section by id."""

    figures: list[Shown] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)

    def __init__(self, html: str) -> None:
        HTMLParser.__init__(self)
        self.figures, self.tags, self.sections = [], [], {}
        self._open: list[tuple[str, dict[str, str]]] = []
        self._figure: tuple[int, Shown] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag in VOID:
            return
        self._open.append((tag, given))
        values = [given[name] for name in ("value", "data-low", "data-high") if name in given]
        if values and (tag == "data" or "data-low" in given):
            self._figure = (len(self._open), Shown([float(value) for value in values], self._place(given)))

    def handle_endtag(self, tag: str) -> None:
        if self._figure and len(self._open) == self._figure[0]:
            self.figures.append(self._figure[1])
            self._figure = None
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1][0] == tag, f"</{tag}> closes <{self._open[-1][0]}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._figure:
            self._figure[1].text += data
        for tag, given in self._open:
            if tag == "section":
                self.sections[given["id"]] = self.sections.get(given["id"], "") + data

    def _place(self, given: dict[str, str]) -> str | None:
        if "data-at" in given:
            around = next(outer["data-json"] for _, outer in reversed(self._open[:-1]) if "data-json" in outer)
            return around + given["data-at"]
        return given.get("data-json")


def stated_at(documents: dict[str, Any], place: str) -> Any:
    """What the documents of a run say at `name.json#/a/pointer`."""
    name, _, pointer = place.partition("#")
    found = documents[name]
    for key in pointer.split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def wrong_figures(page: ReportPage, root: Path) -> list[Shown]:
    """Figures that name a place in a document and are not what stands there, to the last digit."""
    wrong = []
    names = {figure.place.partition("#")[0] for figure in page.figures if figure.place}
    documents = {name: json.loads((root / name).read_text(encoding="utf-8")) for name in names}
    for figure in page.figures:
        if figure.place:
            stated = stated_at(documents, figure.place)
            if figure.values != (stated if isinstance(stated, list) else [stated]):
                wrong.append(figure)
    return wrong


def misspelled(page: ReportPage) -> list[Shown]:
    """Figures whose text is not their value rounded to the digits that it shows."""
    return [figure for figure in page.figures if not _is_rounded(figure)]


def _is_rounded(figure: Shown) -> bool:
    texts = figure.text.split(" to ")
    scale = 100.0 if "%" in figure.text else 1.0
    if len(texts) != len(figure.values):
        return False
    for text, value in zip(texts, figure.values, strict=True):
        plain = text.replace("\u202f", "").replace("%", "").replace(",", "").replace("\u2212", "-").replace("+", "")
        if plain.startswith("< ") or plain.endswith(("s", "min")):
            continue
        digits = len(plain.partition(".")[2].split("e")[0])
        steps = {scale, 100.0} if plain.startswith("-") or "+" in text or "." in plain else {scale}
        unit = 0.5000001 * 10.0**-digits * (10.0 ** int(plain.partition("e")[2]) if "e" in plain else 1)
        if not any(abs(float(plain) - factor * value) <= unit for factor in steps):
            return False
    return True
