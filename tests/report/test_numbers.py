from __future__ import annotations

import math

import pytest
from markupsafe import Markup

from recsys_spark.report.numbers import NOTHING, THIN, Figures, place, shown, spell
from tests.support.report_page import ReportPage

DOCUMENT = {"a": {"B/C~d": [0.123456789, {"n": 7}]}, "none": None, "nan": math.nan, "flag": True, "pair": [0.1, 0.25]}
FIGURES = Figures({"evaluation": DOCUMENT})


def test_a_figure_holds_the_exact_value_and_where_it_stands():
    told = FIGURES.show("percent", "evaluation", "a", "B/C~d", 0)
    assert told == Markup(f'<data value="0.123456789" data-json="evaluation.json#/a/B~1C~0d/0">12.3{THIN}%</data>')


def test_a_figure_inside_a_table_states_only_what_the_table_does_not():
    table = f'<table data-json="{place("evaluation", "a")}"><tr><td>'
    inside = FIGURES.show("count", "evaluation", "a", "B/C~d", 1, "n", under=2)
    assert inside == '<data value="7" data-at="/B~1C~0d/1/n">7</data>'
    (figure,) = ReportPage(f"{table}{inside}</td></tr></table>").figures
    assert (figure.place, figure.values) == ("evaluation.json#/a/B~1C~0d/1/n", [7.0])


def test_an_interval_holds_both_its_ends():
    told = FIGURES.range("percent", "evaluation", "pair")
    assert told == f'<span data-low="0.1" data-high="0.25" data-json="evaluation.json#/pair">10.0 to 25.0{THIN}%</span>'


@pytest.mark.parametrize("keys", [("gone",), ("none",), ("nan",), ("flag",), ("a",), ("a", "B/C~d", 9), ("pair", "x")])
def test_what_is_no_number_is_said_to_be_none(keys):
    assert FIGURES.show("percent", "evaluation", *keys) == NOTHING
    assert FIGURES.show("percent", "gone", *keys) == NOTHING
    assert FIGURES.range("percent", "evaluation", *keys) == NOTHING


def test_a_name_in_the_data_cannot_leave_its_attribute():
    told = Figures({"evaluation": {'"><script>': 1}}).show("count", "evaluation", '"><script>')
    assert "<script>" not in told


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0, "percent", f"0.0{THIN}%"),
        (0.00004, "percent", f"0.00{THIN}%"),
        (1, "percent", f"100.0{THIN}%"),
        (4595854.49, "money", "4,595,854"),
        (172.566, "money", "172.57"),
        (0.0, "points", "0.0"),
        (-0.167, "points", "\u221216.7"),
        (3700, "seconds", f"1{THIN}h 1{THIN}min"),
        (12345678.5, "number", "12,345,678"),
        (0.00001234, "number", "1.23e-05"),
    ],
)
def test_numbers_are_spelled_for_people(value, form, text):
    assert spell(value, form) == text


def test_a_number_of_no_document_names_no_place():
    assert shown(12, "count") == '<data value="12">12</data>'
    assert shown(None, "count") == NOTHING
