"""Write docs/results.md from what benchmarks measured and from finished runs.

Benchmarks leave their lines in docs/results/<name>.jsonl. `--run NAME=ROOT` takes evaluation.json and
cleaning_report.json of a current run, or of the folder of one run, into docs/results/<name>.md, where later calls
find them again; take a run in on the machine that it ran on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, machine
from recsys_spark.command_line import storage_of
from recsys_spark.evaluation.console import evaluation_table
from recsys_spark.manifest import SUFFIX, Manifest
from recsys_spark.runs.root import RunRoot

HEADER = """# Results

Written by `make results`; every figure says when, on what and with which versions it was measured.
"""

_WITH_INTERVALS = (
    ("per_positive", "recall@20"),
    ("per_positive", "ndcg@20"),
    ("per_basket", "recall@20"),
    ("money", "recall@20"),
)


def write_results(runs: Mapping[str, str], results: Path = RESULTS) -> Path:
    """Take in the runs, then write the page beside the folder of results; returns its path."""
    results.mkdir(parents=True, exist_ok=True)
    for name, root in runs.items():
        (results / f"{name}.md").write_text(run_section(name, _folder(root)), encoding="utf-8")
    sections = [HEADER]
    figures = [
        {"bench": path.stem, **json.loads(line)} for path in sorted(results.glob("*.jsonl")) for line in _lines(path)
    ]
    if figures:
        sections.append(benchmark_section(figures))
        sections += [contribution_table(found) for found in figures if "contribution" in found["detail"]]
    sections += [path.read_text(encoding="utf-8") for path in sorted(results.glob("*.md"))]
    page = results.with_suffix(".md")
    page.write_text("\n".join(sections), encoding="utf-8")
    return page


def benchmark_section(figures: Sequence[Mapping[str, Any]]) -> str:
    """All figures as one table, each with when and on what it was measured."""
    rows = []
    for found in figures:
        detail = found["detail"]
        command = detail.get("command", f"make bench NAME={found['bench']}")
        measured = (
            f"`{command}`",
            detail["date"],
            _spell_machine(detail["machine"], detail.get("device", "cpu")),
            _spell(detail["versions"]),
        )
        holds = "yes" if found["holds"] else "**no**"
        rows.append([f"`{found['name']}`", f"{found['value']:g}", f"`{found['goal']}`", holds, *measured])
    return "## Benchmarks\n\n" + _table(
        ["figure", "value", "goal", "holds", "command", "date", "machine", "versions"], rows
    )


def contribution_table(found: Mapping[str, Any]) -> str:
    """What each source of candidates finds alone, by places of a query, and what the union of 200 loses without it."""
    detail = found["detail"]
    sizes = list(detail["union"])
    rows = [["union", "", *(f"{detail['union'][size]:.4f}" for size in sizes), ""]]
    for source, lost in detail["contribution"].items():
        recall = [f"{detail['alone'][source][size]:.4f}" for size in sizes]
        rows.append([source, f"{detail['quotas'][source]:g}", *recall, f"{lost:+.4f}"])
    header = ["source", "quota", *(f"recall of {size}" for size in sizes), "union without it"]
    return f"### `{found['name']}`\n\n" + _table(header, rows)


def run_section(name: str, root: Path) -> str:
    """What one run shows: how its lines were cleaned and how its models rank.

    Raises SystemExit where the root holds neither report.
    """
    parts = []
    report, evaluation = root / "cleaning_report.json", root / "evaluation.json"
    if report.exists():
        parts.append(funnel_table(json.loads(report.read_text(encoding="utf-8"))["funnel"]))
    if evaluation.exists():
        document = json.loads(evaluation.read_text(encoding="utf-8"))
        parts += [f"```text\n{evaluation_table(document)}\n```\n", interval_table(document)]
    if not parts:
        sys.exit(f"error: '{root}' holds neither {report.name} nor {evaluation.name}; name the root of a run")
    last = evaluation if evaluation.exists() else report
    manifest = Manifest.from_json(last.with_name(last.name + SUFFIX).read_text(encoding="utf-8"))
    facts = f"{manifest.created[:10]}, {_spell_machine(machine())}, {_spell(manifest.libraries)}\n"
    return "\n".join([f"## Run `{name}`\n", facts, *parts])


def funnel_table(funnel: Mapping[str, Any]) -> str:
    """Lines, units and money that each rule took, and what is left; rules that took nothing are left out.

    Units and money of rejected lines are what could be read from the source text.
    """
    read = f"{funnel['lines_read']:,} lines read, {funnel['lines_kept']:,} kept, {funnel['lines_rejected']:,} rejected"
    taken = [(rule["rule"], rule) for rule in funnel["rules"] if rule["lines"]]
    rows = [
        [name, f"{counts['lines']:,}", f"{counts['units']:,.0f}", f"{counts['money']:,.2f}"]
        for name, counts in [*taken, ("kept", funnel["kept"])]
    ]
    return f"{read}.\n\n" + _table(["rule", "lines", "units", "money"], rows)


def interval_table(evaluation: Mapping[str, Any]) -> str:
    """Test means with 95 % intervals, and paired differences of Recall@20 to the single model that was best on val."""
    rows = []
    for protocol, found in evaluation["split"]["test"]["protocols"].items():
        for model, values in found["models"].items():
            moved = values["difference"]["per_positive"]["recall@20"] if values["difference"] else None
            cells = [_with_interval(values, *name) for name in _WITH_INTERVALS]
            rows.append([protocol, model, *cells, _spell_difference(moved)])
    header = [
        "test, protocol",
        "model",
        "Recall@20",
        "NDCG@20",
        "basket recall@20",
        "money recall@20",
        "Recall@20 - best single",
    ]
    return _table(header, rows)


def _with_interval(values: Mapping[str, Any], section: str, label: str) -> str:
    low, high = values["intervals"][section][label]
    return "-" if low is None else f"{values[section][label]:.4f} [{low:.4f}, {high:.4f}]"


def _spell_difference(moved: Mapping[str, Any] | None) -> str:
    if moved is None or moved["estimate"] is None:
        return "-"
    low, high = moved["interval_holm"]
    return f"{moved['estimate']:+.4f} [{low:+.4f}, {high:+.4f}]"


def _folder(root: str) -> Path:
    """Where the documents of a run lie."""
    return Path(storage_of(root).location if RunRoot(root).exists else root)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _spell_machine(facts: Mapping[str, Any], device: str = "cpu") -> str:
    gpu = "" if device == "cpu" else f", {device}"
    return f"{facts['cores']} cores, {facts['memory_gib']} GiB, {facts['processor']}{gpu}"


def _spell(versions: Mapping[str, str]) -> str:
    shown = ("python", "pyspark", "pyarrow", "numpy")
    return ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)


def main() -> None:
    """Entry point of `make results`."""
    parser = argparse.ArgumentParser(description="Write docs/results.md.")
    parser.add_argument("--run", action="append", default=[], metavar="NAME=ROOT", help="a finished run to take in")
    given = parser.parse_args().run
    wrong = [pair for pair in given if not all(pair.partition("="))]
    if wrong:
        parser.error(f"--run takes NAME=ROOT, got '{wrong[0]}'")
    print(write_results(dict(pair.split("=", 1) for pair in given)))


if __name__ == "__main__":
    main()
