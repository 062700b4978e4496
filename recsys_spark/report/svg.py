"""Matplotlib figures as SVG that stands in the page: text stays text, colours follow the page's scheme."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 360  # units of the drawing; the page shows it about as wide, so that its text can be read on a phone
_POINTS = 72
_SVG = "http://www.w3.org/2000/svg"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XLINK = "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)
# Colours that no drawing uses otherwise; each becomes the page's variable of the name.
INK, MUTED, GRID, SURFACE = "#000101", "#000102", "#000103", "#000104"
SERIES = ("#000111", "#000112", "#000113", "#000114", "#000115")
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SURFACE: "--surface",
    **{colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",  # else every drawing has other ids
    "font.size": 12.5,
    "text.parse_math": False,  # a $ in a name is a $
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 12,
    "figure.facecolor": "none",
    "path.simplify": False,
}


@dataclass(frozen=True)
class Chart:
    """A drawing. title and description are what a screen reader says of it."""

    name: str
    title: str
    description: str
    svg: Markup


@contextmanager
def drawing(height: float, rows: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of the page's width with its axes, one below the other; height in the units of WIDTH."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has fonts for every script
        figure = Figure(figsize=(WIDTH / _POINTS, height / _POINTS), dpi=_POINTS, layout="constrained")
        yield figure, list(figure.subplots(rows, 1, squeeze=False)[:, 0])


def chart_of(figure: Figure, name: str, title: str, description: str) -> Chart:
    """The figure as a chart. name: makes its ids differ from those of other charts. To be called while `drawing`."""
    title, description = without_forbidden(title), without_forbidden(description)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(without_forbidden(buffer.getvalue()))
    _drop(root, "metadata", "style")  # a style of the drawing would hold for the whole page
    _prefix_ids(root, name)
    _adopt_colours(root)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib.update({"role": "img", "aria-labelledby": f"{name}-title {name}-desc", "class": "chart"})
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    return Chart(name, title, description, Markup(ElementTree.tostring(root, encoding="unicode")))


def without_forbidden(text: str) -> str:
    r"""The text without the characters that XML 1.0 forbids (section 2.2), which names of products may hold.

    >>> without_forbidden("CUPS\x01 & \x1bPLATES")
    'CUPS & PLATES'
    """
    return _FORBIDDEN.sub("", text)


def _drop(root: ElementTree.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}{tag}" for tag in tags}:
                parent.remove(child)


def _prefix_ids(root: ElementTree.Element, name: str) -> None:
    """Ids of the chart's own; those that nothing refers to go."""
    text = ElementTree.tostring(root, encoding="unicode")
    wanted = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in wanted:
            element.set("id", f"{name}-{own}")
        for key, value in element.attrib.items():
            if key == f"{{{_XLINK}}}href":
                element.set(key, value.replace("#", f"#{name}-", 1))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))


def _adopt_colours(root: ElementTree.Element) -> None:
    for element in root.iter():
        style = element.get("style")
        if style:
            style = re.sub(r"font-family: [^;]*; *", "", style)  # that of the page
            style = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", style)  # as older versions spell it
            for colour, variable in _VARIABLES.items():
                style = style.replace(colour, f"var({variable})")
            element.set("style", style)
