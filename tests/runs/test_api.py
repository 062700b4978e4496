"""The pipeline from Python: what it reads after what it ran."""

from __future__ import annotations

import pytest

from jobs.api import Pipeline
from recsys_spark.runs.root import RunRoot
from tests.support.shops import CLEANED, LISTS, NAMES, Shop


@pytest.fixture
def pipeline(shop, monkeypatch) -> Pipeline:
    """Over the stages of the shop, which have run."""
    monkeypatch.setattr("jobs.api.STAGES", shop.stages)
    monkeypatch.setattr("jobs.api._NAMES", list(NAMES))
    monkeypatch.setattr("jobs.api.ARTIFACTS", {"cleaned": CLEANED, "lists": LISTS})
    opened = Pipeline(shop.config())
    opened.run()
    return opened


def change(shop: Shop) -> None:
    shop.source.write_text("c")


def test_what_was_just_made_is_read_though_its_run_is_not_current_yet(shop, pipeline):
    assert pipeline.read("cleaned") == {"words": ["A", "B"]}
    change(shop)
    pipeline.run("ingest", "clean")
    old, new = shop.ids()
    assert shop.pointer() == old
    assert pipeline.read("cleaned") == {"words": ["C"]}
    assert f"/runs/{new}/" in pipeline.path("cleaned")
    assert Pipeline(shop.config()).read("cleaned") == {"words": ["A", "B"]}


def test_what_the_run_has_not_yet_is_read_from_the_current_one_which_is_told(shop, pipeline, caplog):
    change(shop)
    pipeline.run("ingest", "clean")
    old, new = shop.ids()
    assert pipeline.read("lists") == {"first": "A"}
    assert f"run {new} has no lists.json yet: taking that of {old}, the current run" in caplog.text
    pipeline.run()
    assert pipeline.read("lists") == {"first": "C"}


def test_the_current_run_is_read_where_the_last_one_is_gone(shop, pipeline):
    change(shop)
    pipeline.run("ingest", "clean")
    root = RunRoot(str(shop.root))
    root.remove(root.runs()[-1])
    assert pipeline.read("cleaned") == {"words": ["A", "B"]}
