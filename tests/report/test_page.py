"""The page from given facts: what it says, what it leaves out, and what it lets nobody do."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from recsys_spark.report.findings import findings, verdict, weakest_categories
from recsys_spark.report.generic import tables_of
from recsys_spark.report.page import ReportFacts, all_charts, render
from recsys_spark.report.samples import moment_of
from tests.report.documents import ABLATIONS, CLEANING, CUTOFFS, DATA, RANKER, RUN, SAMPLE, SOURCES, TOWERS, evaluation
from tests.support.report_page import ReportPage, misspelled, wrong_figures

HOSTILE = '"><script>alert(1)</script>'
WHOLE = ReportFacts(
    documents={
        "cleaning_report": CLEANING,
        "split_cutoffs": CUTOFFS,
        "evaluation": evaluation(),
        "twotower_results": TOWERS,
        "ranker_results": RANKER,
        "ranker_ablations": ABLATIONS,
    },
    data=DATA,
    counts={"queries_test": 3, "sequences_test": 8},
    sources=SOURCES,
    samples=[SAMPLE],
    run=RUN,
)


CHARTS = all_charts(WHOLE)  # drawn once: what the tests change is told in words


def without(*names):
    documents = {name: value for name, value in WHOLE.documents.items() if name not in names}
    return replace(WHOLE, documents=documents)


@pytest.fixture(scope="module")
def html():
    return render(WHOLE, CHARTS)


@pytest.fixture(scope="module")
def page(html):
    return ReportPage(html)


def test_every_figure_of_every_document_is_what_stands_there(page, tmp_path):
    for name, document in WHOLE.documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    told = {figure.place.partition("#")[0] for figure in page.figures if figure.place}
    assert told == {f"{name}.json" for name in WHOLE.documents if name != "split_cutoffs"}
    assert wrong_figures(page, tmp_path) == []
    assert misspelled(page) == []


def test_dates_that_may_be_mistyped_are_warned_of_where_there_are_any(html):
    late = {"interactions": 2, "first_date": "2062-03-05", "last_date": "2062-03-06", "last_before": "2026-01-09"}
    documents = {**WHOLE.documents, "cleaning_report": {**CLEANING, "late_dates": late}}
    said = " ".join(re.sub("<[^>]*>", "", render(replace(WHOLE, documents=documents), CHARTS)).split())
    assert "2 purchases from 2062-03-05 to 2062-03-06 come after a gap that begins on 2026-01-09" in said
    assert "Look at the last dates" not in html


def test_every_mean_interval_and_difference_of_the_evaluation_is_on_the_page(page):
    places = {figure.place for figure in page.figures if figure.place}
    for split, found in WHOLE.documents["evaluation"]["split"].items():
        for protocol, result in found["protocols"].items():
            for model, means in result["models"].items():
                at = f"evaluation.json#/split/{split}/protocols/{protocol}/models/{model}"
                for section in ("per_positive", "per_basket", "money"):
                    for label in means[section]:
                        assert f"{at}/{section}/{label}" in places
                        assert f"{at}/intervals/{section}/{label}" in places
                for cause in means["waterfall"]["causes"]:
                    assert f"{at}/waterfall/causes/{cause}" in places
                if means["difference"]:
                    assert f"{at}/difference/per_positive/recall@20/estimate" in places


def test_the_page_loads_nothing_and_lets_only_its_own_script_run(html, page):
    links = [given[name] for _, given in page.tags for name in ("src", "href", "xlink:href", "action") if name in given]
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not re.search(r"@import|url\((?!#)", html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    (policy,) = [given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert [name for _, given in page.tags for name in given if name.startswith("on")] == []


def test_ids_are_given_once_and_links_within_the_page_find_them(page):
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert sorted(ids) == sorted(set(ids))
    wanted = {given["href"][1:] for _, given in page.tags if given.get("href", "").startswith("#")}
    wanted |= {one for _, given in page.tags for one in given.get("aria-labelledby", "").split()}
    assert wanted <= set(ids)


def test_every_table_has_a_caption_and_every_heading_of_it_a_scope(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") > 50
    assert {given.get("scope") for tag, given in page.tags if tag == "th"} == {"col", "row"}


def test_names_from_the_data_are_text_whatever_they_hold():
    hostile = json.loads(json.dumps(WHOLE.documents["evaluation"]).replace("CUPS", HOSTILE.replace('"', '\\"')))
    sample = {**SAMPLE, "customer_id": HOSTILE, "history": [{**SAMPLE["history"][0], "description": HOSTILE}]}
    data = {**DATA, "categories": [{"category": HOSTILE, "items": 1, "lines": 2, "money": 3.0}]}
    facts = replace(WHOLE, documents={**WHOLE.documents, "evaluation": hostile}, samples=[sample], data=data)
    told = render(facts, all_charts(facts))
    assert told.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in told


@pytest.mark.parametrize(
    ("facts", "section", "sentence"),
    [
        (without("twotower_results"), "training", "no two-tower model"),
        (replace(without("ranker_results"), sources=None), "ranker", "no ranker"),
        (replace(WHOLE, sources=None), "sources", "no second stage"),
        (without("evaluation"), "models", "no evaluation"),
        (without("evaluation"), "summary", "nothing can be said of how good"),
        (replace(WHOLE, samples=[]), "customers", "No customer has a basket"),
        (replace(WHOLE, run=None), "run", "Nothing is known"),
        (replace(WHOLE, data={**DATA, "categories": [], "examples": {}}), "data", "names no categories"),
    ],
)
def test_what_a_run_lacks_is_said_in_a_sentence(facts, section, sentence):
    page = ReportPage(render(facts, CHARTS))
    assert sentence in page.sections[section]
    assert len(page.sections) == 13


def test_an_evaluation_without_test_baskets_has_no_verdict():
    empty = evaluation()
    empty["split"]["test"]["protocols"]["all_items"]["num_positives"] = 0
    assert findings({"evaluation": empty}) is None
    page = ReportPage(render(replace(WHOLE, documents={**WHOLE.documents, "evaluation": empty}), CHARTS))
    assert "No basket lies in the test period" in page.sections["models"]


@pytest.mark.parametrize(
    ("interval", "corrected", "word", "sentence"),
    [
        (
            [-0.01, 0.03],
            [0.001, 0.02],
            "better",
            "(95 %, corrected: +0.10 to +2.0): better, and more than chance explains",
        ),
        (
            [-0.03, 0.01],
            [-0.02, -0.001],
            "worse",
            "(95 %, corrected: −2.0 to −0.10): worse, and more than chance explains",
        ),
        (
            [0.001, 0.01],
            [-0.01, 0.02],
            "open",
            "(95 %, corrected: −1.0 to +2.0): no difference that can be told from chance",
        ),
        ([0.001, 0.01], None, "better", "(95 %: +0.10 to +1.0): better, and more than chance explains"),
    ],
)
def test_the_verdict_and_the_interval_beside_it_are_the_corrected_ones(interval, corrected, word, sentence):
    changed = evaluation()
    difference = changed["split"]["test"]["protocols"]["all_items"]["models"]["two_stage"]["difference"]
    difference["per_positive"]["recall@20"].update({"interval": interval, "interval_holm": corrected})
    assert verdict(changed, "all_items") == word
    page = ReportPage(render(replace(WHOLE, documents={**WHOLE.documents, "evaluation": changed}), CHARTS))
    assert sentence in page.sections["summary"]


@pytest.mark.parametrize(("share_cut", "told"), [(0.125, True), (0.0, False)])
def test_the_share_that_the_cap_on_heavy_customers_cut_is_told_where_there_is_one(share_cut, told):
    results = {"fit": {"val": {"knn_share_cut": share_cut}}}
    html = render(replace(WHOLE, documents={**WHOLE.documents, "baseline_results": results}), CHARTS)
    assert ("max_items_per_customer" in html) == told
    assert ("knn_share_cut" in html) == told  # the place of the figure


def test_one_of_a_thing_is_no_plural():
    changed = evaluation()
    models = changed["split"]["test"]["protocols"]["all_items"]["models"]
    del models["popularity"], models["two_tower_all"]
    facts = replace(
        WHOLE,
        documents={**WHOLE.documents, "evaluation": changed},
        samples=[{**SAMPLE, "basket_items": 1}],
    )
    page = ReportPage(render(facts, CHARTS))
    assert "1 customer, drawn by chance" in page.sections["customers"]
    assert "bought 1 product for" in page.sections["customers"]
    assert "1 model learned" in page.sections["summary"]
    assert "1 stage took" in page.sections["run"]


def test_the_moment_of_the_recommendations_is_that_of_their_run():
    now = [{"place": 1, "stock_code": "A", "description": "lamp", "reason": "why", "sources": None}]
    facts = replace(WHOLE, samples=[{**SAMPLE, "now": now}], moment=moment_of({"as_of": "2011-02-25"}))
    page = ReportPage(render(facts, CHARTS))
    assert "Recommended as of 2011-02-25" in page.sections["customers"]
    assert "end of the data" not in page.sections["customers"]


def test_a_best_model_that_is_a_single_one_is_compared_with_none():
    changed = evaluation()
    changed["best"]["all_items"] = "popularity"
    assert verdict(changed, "all_items") == "same"


def test_the_weakest_categories_have_enough_products_and_are_no_rest():
    found = {
        "segments": {
            "category": {
                name: {"num_positives": count, "models": {"m": {"recall@20": recall}}}
                for name, count, recall in [
                    ("tiny", 99, 0.0),
                    ("(other)", 900, 0.0),
                    ("(none)", 900, 0.0),
                    ("d", 100, 0.4),
                    ("b", 100, 0.2),
                    ("a", 100, 0.2),
                    ("c", 500, 0.3),
                ]
            }
        }
    }
    assert weakest_categories(found, "m") == ["a", "b", "c"]
    assert weakest_categories({"segments": {}}, "m") == []


def test_warnings_of_the_evaluation_stand_on_the_first_screen():
    changed = evaluation()
    changed["warnings"] = ["test, all_items: look for a <leak>"]
    page = ReportPage(render(replace(WHOLE, documents={**WHOLE.documents, "evaluation": changed}), CHARTS))
    assert "look for a <leak>" in page.sections["summary"]


def test_a_model_without_a_loss_waterfall_has_no_row_of_losses():
    changed = evaluation()
    for split in changed["split"].values():
        for result in split["protocols"].values():
            del result["models"]["two_tower_all"]["waterfall"]
    others = [chart for chart in CHARTS if not chart.name.startswith("losses")]
    page = ReportPage(render(replace(WHOLE, documents={**WHOLE.documents, "evaluation": changed}), others))
    assert "Two stages" in page.sections["losses"]
    assert "Two-tower all" not in page.sections["losses"]


def test_whatever_the_ranker_tells_of_itself_is_shown_and_what_it_does_not_is_named(page):
    told = page.sections["ranker"]
    assert "dot_uv, all_items" in told
    assert "without own" in told
    assert "Not measured in this run: order within the candidates; all positives of some queries." in told
    assert "what each part is worth" in ReportPage(render(without("ranker_ablations"), CHARTS)).sections["ranker"]


def test_any_json_becomes_tables_with_each_number_once():
    value = {
        "a": 1.5,
        "b": [0.1, 0.2],
        "c": {"x": {"n": 1}, "y": {"n": 2, "m": None}},
        "d": [{"p": 1}],
        "e": [],
        "f": "text",
    }
    blocks = tables_of(value, ("key",), "t")
    assert [block.title for block in blocks] == ["t", "t, c", "t, d"]
    cells = [cell for block in blocks for _, row in block.rows for cell in row]
    assert sorted(cell.keys for cell in cells if cell.keys) == sorted(
        [("key", "a"), ("key", "b"), ("key", "c", "x", "n"), ("key", "c", "y", "n"), ("key", "d", 0, "p")], key=str
    )
    assert blocks[1].head == ("", "n", "m")
    assert tables_of(None, (), "t") == tables_of([], (), "t") == tables_of(3, (), "t") == []
