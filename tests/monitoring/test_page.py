import re

from recsys_spark.monitoring.measures import (
    above,
    below,
    certain,
    drift_document,
    not_measured,
    told,
)
from recsys_spark.monitoring.page import page
from recsys_spark.monitoring.plots import grouped_bars
from recsys_spark.monitoring.words import WIDTH, drift_words

HOSTILE = '<script>alert("x")</script>'
SIDES = {"run": "data/<run>", "against": "data/old", "new_lines": []}
WEEKS = [{"week": "2011-01-03", "money": 5.0, "captured": 0.2, "popular": 0.1, "interval": [0.1, 0.3]}]


def document(*measures, differs=None):
    return drift_document(SIDES, {"psi": 0.2}, measures, differs or {})


EVERYTHING = document(
    above("lines", "psi.category", 0.9, 0.2, f"category {HOSTILE}", bins=[HOSTILE], reference=[1.0], current=[0.5]),
    below("money", "uplift", 0.3, 0.0, "more", interval=[0.1, 0.5], weeks={"current": WEEKS}),
    told("lists", "jaccard", 0.123456789, "shared"),
    not_measured("embeddings", "item_mean_shift", "the runs have no tower in common"),
    differs={"config": {HOSTILE: [1, None]}},
)


def test_every_measure_and_sentence_stands_on_the_page():
    made = page(EVERYTHING)
    for measure in EVERYTHING["measures"]:
        assert measure["name"] in made
    assert "the runs have no tower in common" in made
    assert "1 of 3 measures passed their threshold. 1 could not be measured" in made


def test_one_difference_and_one_measure_are_no_plural():
    assert "<summary>1 difference, of which" in page(EVERYTHING)
    assert drift_words(document(told("lists", "jaccard", 0.5, "shared"))).startswith("1 measure: ")


def test_what_comes_from_data_is_escaped():
    made = page(EVERYTHING)
    assert "<script" not in made
    assert "&lt;script&gt;" in made


def test_the_page_needs_nothing_but_itself():
    made = page(EVERYTHING)
    assert not re.search(r"https?://|\bsrc=|\bhref=|@import|url\(", made)
    assert made.count("<svg") == made.count("</svg>") == 2


def test_a_page_without_alarms_says_so():
    assert "0 of 1 measures passed" in page(document(above("lists", "gini", 0.0, 0.1, "even")))
    assert "Nothing was measured." in page(document(not_measured("lists", "gini", "no lists")))


def test_verdicts_follow_from_the_side_that_alarms():
    verdicts = [
        above("g", "n", 0.3, 0.2, "s").verdict,
        above("g", "n", 0.2, 0.2, "s").verdict,
        below("g", "n", 0.1, 0.2, "s").verdict,
        below("g", "n", 0.2, 0.2, "s").verdict,
        certain(above("g", "n", 0.3, 0.2, "s"), False).verdict,
        certain(above("g", "n", 0.3, 0.2, "s"), True).verdict,
    ]
    assert verdicts == ["drift", "ok", "drift", "ok", "ok", "drift"]
    assert EVERYTHING["alarms"] == ["lines.psi.category"]


def test_bars_are_as_high_as_their_values():
    plot = grouped_bars("p", ["a", "b"], {"one": [1.0, 2.0], "two": [0.0, 4.0]})
    heights = [bar.height for bar in plot.bars]
    assert heights[3] == 2 * heights[1] == 4 * heights[0]
    assert heights[2] == 0
    assert len({bar.x for bar in plot.bars}) == 4
    assert all(0 <= bar.x <= bar.x + bar.width <= plot.width for bar in plot.bars)


def test_the_words_name_every_alarm_and_fit_the_terminal():
    words = drift_words(EVERYTHING)
    assert "drift: lines.psi.category" in words
    assert "not measured: embeddings.item_mean_shift" in words
    assert words.endswith("4 measures: 1 ok, 1 drift, 1 told, 1 not measured")
    assert max(map(len, words.splitlines())) <= WIDTH
