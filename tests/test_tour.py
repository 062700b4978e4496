"""The tour runs from its first cell to its last on a small shop, as it is."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.small_shop import settings_of, write_shop

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_every_cell_of_the_tour_runs(tmp_path, monkeypatch):
    write_shop(tmp_path / "shop.csv")
    monkeypatch.setenv("RECSYS_TOUR", ";".join(["conf/workbook.yaml", *settings_of(tmp_path)]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the tour is kept without outputs"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    said = "".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert "405 lines read, 401 kept" in said
    assert "share of what was bought that is among the candidates" in said
