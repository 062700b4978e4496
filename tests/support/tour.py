"""The tour of docs/, run as it is."""

from __future__ import annotations

import os

import pytest

from tests.support.small_shop import REPOSITORY


def told_by_the_tour(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What all cells print. words: a config file and what is set behind it."""
    nbformat, nbclient = (pytest.importorskip(name) for name in ("nbformat", "nbclient"))
    monkeypatch.setenv("RECSYS_TOUR", ";".join(words))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(REPOSITORY / "docs" / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the tour is kept without outputs"
    where = {"metadata": {"path": str(REPOSITORY / "docs")}}
    nbclient.NotebookClient(notebook, timeout=600, resources=where).execute()
    return "".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
