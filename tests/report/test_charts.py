"""What is drawn of given facts, and up to where."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from recsys_spark.report import plots
from recsys_spark.report.charts import data_charts, ranker_charts
from tests.report.documents import CUTOFFS, DATA, RANKER


def test_the_most_important_features_are_drawn_first():
    rows = [{"feature": f"f{n}", "protocol": "all_items", "loss": n / 100, "deviation": 0.1} for n in range(30)]
    (chart,) = ranker_charts({"importance": rows})
    assert chart.description.startswith("f29 0.29; f28 0.28")
    assert "f14 " not in chart.description
    assert ranker_charts(None) == ranker_charts({"importance": [], "calibration": {}}) == []


@pytest.mark.parametrize(("period", "end"), [("week", "2011-03-07"), ("month", "2011-03-01")])
def test_sales_are_drawn_to_the_end_of_the_last_period(monkeypatch, period, end):
    drawn = []
    monkeypatch.setattr(plots, "over_time", lambda name, title, edges, *rest: drawn.append(edges))
    data_charts({**DATA, "period": period}, CUTOFFS)
    days = [date(1970, 1, 1) + timedelta(days=edge) for edge in drawn[0]]
    assert [day.isoformat() for day in days] == ["2010-12-27", "2011-02-28", end]


def test_a_chart_of_calibration_sets_what_was_bought_beside_what_was_told():
    (chart,) = ranker_charts({"calibration": RANKER["calibration"]})
    assert chart.name == "calibration-all_items"
    assert "what was bought" in chart.description
