"""The page in a browser, as people see, hear and use it; its artifacts come from the real stages."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.report.shop import ARABIC, run_shop
from tests.support.browser import chromium
from tests.support.report_page import ReportPage, misspelled, wrong_figures

pytestmark = [pytest.mark.spark, pytest.mark.slow]
PHONE, DESK = {"width": 375, "height": 800}, {"width": 1300, "height": 900}
PAIRS = [
    ["--ink", "--surface"],
    ["--muted", "--surface"],
    ["--accent", "--surface"],
    ["--ink", "--page"],
    ["--muted", "--page"],
    ["--ink", "--hit"],
    ["--muted", "--hit"],
    ["--ink", "--warn"],
    ["--band-ink", "--band"],
    ["--band-muted", "--band"],
]
# The contrast of WCAG 2: relative luminances, each colour as the browser paints it.
CONTRAST = """
(pairs) => {
  const canvas = document.createElement("canvas").getContext("2d");
  const painted = (name) => {
    canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const light = (name) => {
    const [red, green, blue] = painted(name).map(linear);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  return pairs.map(([a, b]) => {
    const [high, low] = [light(a), light(b)].sort((p, q) => q - p);
    return (high + 0.05) / (low + 0.05);
  });
}
"""
COLOURS = """
[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector("svg.chart text")).fill]
"""


@pytest.fixture(scope="module")
def root(spark, tmp_path_factory):
    return run_shop(spark, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser, root):
    """Opens the page; what it logged, asked of the network and threw is kept."""
    opened = []

    def go(viewport=DESK, scheme="light", script=True):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, java_script_enabled=script)
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.said.append(request.url) if "report.html" not in request.url else None)
        page.goto(f"file://{root / 'report.html'}")
        opened.append(context)
        return page

    yield go
    for context in opened:
        context.close()


def open_all(page):
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def column(page, table, number):
    return page.locator(f"#{table} tbody tr").evaluate_all(
        f"(rows) => rows.map((row) => (row.cells[{number}].querySelector('data') || {{}}).value)"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_logs_no_error_and_asks_nothing_of_the_network(visit, scheme):
    page = visit(scheme=scheme)
    open_all(page)
    page.locator("#models-all_items thead button").first.click()
    page.wait_for_timeout(200)
    asked = [said for said in page.said if not said.startswith("data:")]
    assert asked == []


def test_what_comes_from_outside_is_forbidden_by_the_page_itself(visit):
    page = visit()
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'https://example.org/x.png'}))"
    )
    page.wait_for_timeout(200)
    assert any("Content Security Policy" in said for said in page.said)


def test_every_figure_is_the_number_of_its_document(root):
    page = ReportPage((root / "report.html").read_text(encoding="utf-8"))
    documents = {figure.place.partition("#")[0] for figure in page.figures if figure.place}
    assert documents == {"evaluation.json", "cleaning_report.json"}
    assert len([figure for figure in page.figures if figure.place]) > 500
    assert wrong_figures(page, root) == []
    assert misspelled(page) == []


def test_a_click_sorts_a_table_down_and_the_next_one_up(visit):
    page = visit()
    heading = page.locator("#models-first_purchase thead th").nth(2)
    before = column(page, "models-first_purchase", 2)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    down = column(page, "models-first_purchase", 2)
    assert down == sorted(before, key=float, reverse=True)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(value) for value in column(page, "models-first_purchase", 2)] == sorted(map(float, before))


def test_the_keyboard_sorts_too_and_is_told(visit):
    page = visit()
    page.locator("#funnel thead th").nth(1).locator("button").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert page.locator("#funnel thead th").nth(1).get_attribute("aria-sort") == "ascending"
    values = [float(value) for value in column(page, "funnel", 1)]
    assert values == sorted(values)
    assert "sorted by Lines, ascending" in page.locator("#announcer").text_content()


def test_the_first_key_leads_to_a_link_over_the_navigation(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_without_script_the_page_is_all_there_and_has_no_dead_buttons(visit):
    page = visit(script=False)
    assert page.locator("#models-all_items tbody tr").count() == 3
    assert page.locator("thead button").count() == 0


@pytest.mark.parametrize("viewport", [PHONE, {"width": 320, "height": 640}])
def test_a_phone_scrolls_the_page_down_only(visit, viewport):
    page = visit(viewport=viewport)
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    heights = page.locator("#models svg.chart text").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().height)"
    )
    assert len(heights) > 20
    assert min(heights) > 8  # pixels: small, but read


def test_dark_mode_changes_the_page_and_its_drawings(visit):
    seen = {}
    for scheme in ("light", "dark"):
        page = visit(scheme=scheme)
        seen[scheme] = page.evaluate(COLOURS)
    (light_page, light_text), (dark_page, dark_text) = seen["light"], seen["dark"]
    assert light_page != dark_page
    assert light_text != dark_text
    darkness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (light_page, dark_page)]
    assert darkness[0] > 600 > 150 > darkness[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_lies_behind_it(visit, scheme):
    found = visit(scheme=scheme).evaluate(CONTRAST, PAIRS)
    told = {" on ".join(pair): round(ratio, 2) for pair, ratio in zip(PAIRS, found, strict=True)}
    assert {pair: ratio for pair, ratio in told.items() if ratio < 4.5} == {}
    assert max(told.values()) > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_people_out(visit, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(scheme=scheme)
    open_all(page)
    found = Axe().run(page).response
    assert [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]] == []
    assert len(found["passes"]) > 20


def test_an_arabic_name_runs_from_right_to_left_and_says_its_language(visit):
    page = visit()
    open_all(page)
    names = page.locator("#customers bdi", has_text=ARABIC)
    assert names.count() > 0
    assert names.first.evaluate("(name) => getComputedStyle(name).direction") == "rtl"
    assert names.first.get_attribute("lang") == "ar"
    english = page.locator("#customers bdi", has_text="ITEM 1").first
    assert english.evaluate("(name) => getComputedStyle(name).direction") == "ltr"
    assert english.get_attribute("lang") is None


def test_every_drawing_has_a_name_and_says_what_it_shows(visit):
    drawings = visit().evaluate(
        "[...document.querySelectorAll('svg')].map((svg) => [svg.getAttribute('role'), "
        "...svg.getAttribute('aria-labelledby').split(' ').map((id) => document.getElementById(id).textContent)])"
    )
    assert len(drawings) > 12
    for role, title, description in drawings:
        assert role == "img"
        assert len(title) > 5
        assert len(description) > 10


def test_headings_go_down_one_step_at_a_time(visit):
    levels = visit().evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
