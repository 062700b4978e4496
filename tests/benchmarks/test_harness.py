from __future__ import annotations

import json

import pytest

from benchmarks.harness import Figure, figure, machine, median_ratio, medians, meets, paired_seconds, report


@pytest.mark.parametrize(
    ("value", "goal", "expected"),
    [(1.0, "<= 1.0", True), (1.01, "<= 1.0", False), (2, "> 2", False), (2, ">= 2", True), (0, "== 0", True)],
)
def test_a_goal_is_a_comparison(value, goal, expected):
    assert meets(value, goal) is expected


def test_a_goal_without_comparison_is_refused():
    with pytest.raises(ValueError, match="goal '1.0' must begin with"):
        meets(1.0, "1.0")


def test_contenders_take_turns_and_the_warm_up_is_not_counted():
    order: list[str] = []
    seconds = paired_seconds({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, warm_up=1)
    assert order == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_medians_are_of_ratios_of_pairs():
    assert median_ratio([1.0, 10.0, 3.0], [2.0, 2.0, 2.0]) == 1.5
    assert medians({"a": [3.0, 1.0, 2.0]}) == {"a": 2.0}
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1.0], [1.0, 2.0])


def test_a_figure_says_on_what_it_was_measured_without_naming_the_host():
    found = figure("sort.growth", 9.12345, "<= 11", rows=10)
    assert (found.value, found.holds, found.detail["rows"]) == (9.1235, True, 10)
    assert {"date", "machine", "versions"} <= set(found.detail)
    assert set(machine()) == {"cores", "memory_gib", "processor", "system"}


def test_report_prints_one_line_per_figure_and_replaces_the_stored_ones(tmp_path, capsys):
    report("sort", [Figure("sort.a", 1.0, "<= 2", True), Figure("sort.b", 3.0, "<= 2", False)], tmp_path)
    report("sort", [Figure("sort.a", 1.5, "<= 2", True)], tmp_path)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in printed] == ["sort.a", "sort.b", "sort.a"]
    assert printed[1] == {"name": "sort.b", "value": 3.0, "goal": "<= 2", "holds": False, "detail": {}}
    stored = (tmp_path / "sort.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in stored] == [1.5]
