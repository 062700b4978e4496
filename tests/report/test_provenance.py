from __future__ import annotations

import json
from pathlib import Path

from recsys_spark.contracts.artifacts import RECOMMENDATIONS
from recsys_spark.evaluation.runs import Run
from recsys_spark.manifest import SUFFIX, FileEntry, Manifest
from recsys_spark.report.provenance import run_facts
from recsys_spark.report.samples import moment_of
from recsys_spark.storage import Storage


def publish(root: Path, stage: str, outputs: dict[str, str], inputs: dict[str, str], seconds: float, **given) -> None:
    """A stage's record and manifests, as a finished stage leaves them."""
    for label, content in outputs.items():
        files = (FileEntry(label, 10, None, content),)
        manifest = Manifest(label, "json", stage, None, 5, 10, content, files, inputs, **given)
        (root / (label + SUFFIX)).write_text(manifest.to_json())
    (root / "_stages").mkdir(exist_ok=True)
    record = {
        "recipe": "r",
        "inputs": inputs,
        "outputs": outputs,
        "metrics": {"lines": 3, "x": 0.5},
        "seconds": seconds,
    }
    (root / "_stages" / f"{stage}.json").write_text(json.dumps(record))


def test_the_stages_behind_a_result_come_in_the_order_they_need_each_other(tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    publish(root, "zero", {"raw": "1"}, {"source:/data/x/shop.csv": "d1"}, 1.5, config={"ingest": {"a": 1}}, seed=7)
    publish(
        root, "middle", {"a": "2", "b": "3"}, {"raw": "1"}, 2.0, libraries={"numpy": "1.2"}, config={"clean": {"c": 3}}
    )
    publish(root, "alone", {"other": "9"}, {}, 100.0)
    publish(root, "last", {"result": "4"}, {"a": "2", "b": "3", "gone": "absent"}, 0.5, libraries={"numpy": "1.3"})
    facts = run_facts(Storage(str(root), None), ["result"])
    assert [stage["stage"] for stage in facts["stages"]] == ["zero", "middle", "last"]
    assert facts["seconds"] == 4.0
    assert facts["sources"] == {"shop.csv": "d1"}
    assert facts["libraries"] == {"numpy": "1.2 / 1.3"}
    assert facts["config"] == {"clean": {"c": 3}, "ingest": {"a": 1}}
    middle = facts["stages"][1]
    assert (middle["artifacts"], middle["rows"], middle["bytes"]) == (2, 10, 20)


def test_source_files_of_one_name_keep_the_folders_that_tell_them_apart(tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    paths = ("s3://shop/2023/uk/sales.csv", "s3://shop/2024/uk/sales.csv", "/data/stock.csv", "/sales.csv")
    publish(root, "zero", {"raw": "1"}, {f"source:{path}": f"d{n}" for n, path in enumerate(paths)}, 1.5)
    assert run_facts(Storage(str(root), None), ["raw"])["sources"] == {
        "/sales.csv": "d3",
        "2023/uk/sales.csv": "d0",
        "2024/uk/sales.csv": "d1",
        "stock.csv": "d2",
    }


def test_the_moment_of_recommendations_is_told_by_their_own_config_and_not_by_that_of_the_report(tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    run = Run(Storage(str(root), None))
    assert moment_of(run.recommend_options()) == "now, at the end of the data"
    options = {"as_of": "2011-05-09", "new_lines": ["/data/may.csv"]}
    publish(root, "recommend", {RECOMMENDATIONS.path: "1"}, {}, 1.0, config={"recommend": options})
    assert moment_of(run.recommend_options()) == "as of 2011-05-09, with new lines"


def test_a_stage_that_was_killed_before_its_record_is_left_out(tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    publish(root, "one", {"a": "1"}, {}, 1.0)
    (root / "_stages" / "one.json").unlink()
    assert run_facts(Storage(str(root), None), ["a", "never"])["stages"] == []
