import csv
import json
import re
import shutil
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from jobs.monitor import add_arguments, monitor
from recsys_spark.command_line import guarded
from recsys_spark.contracts.artifacts import (
    CLEANING_REPORT,
    CUSTOMER_ID_MAP,
    DRIFT,
    DRIFT_HTML,
    INTERACTIONS_CLEAN,
    ITEM_ID_MAP,
    ITEM_POPULARITY,
    RECOMMENDATIONS,
)
from recsys_spark.contracts.config import CLEAN_RULES
from recsys_spark.contracts.errors import EXIT_DATA, EXIT_DONE, EXIT_GATE, EXIT_USAGE
from recsys_spark.monitoring.measures import NOT_MEASURED
from recsys_spark.storage import Storage
from tests.monitoring.test_lines import lines
from tests.support.frames import frame

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "drift.schema.json"
LISTS = {f"c{customer}": [f"P{(customer + place) % 30}" for place in range(5)] for customer in range(300)}
STRANGE = {customer: [f"P{(int(item[1:]) + 15) % 30}" for item in items] for customer, items in LISTS.items()}


def write_run(spark, root, bought, lists=LISTS, partitions=2, rejected=0):
    """A run up to its recommendations, without towers, ranker and evaluation; `rejected` lines had no quantity."""
    storage = Storage(str(root), spark)
    storage.open_root()
    ids = {"item_idx": [f"P{i}" for i in range(30)], "user_idx": sorted({row["customer_id"] for row in bought})}
    places = [
        {"customer_id": customer, "rank": rank, "stock_code": item, "score": 1.0 / rank}
        for customer, items in lists.items()
        for rank, item in enumerate(items, 1)
    ]
    tables = {
        INTERACTIONS_CLEAN: (bought, {}),
        ITEM_ID_MAP: ([{"item_idx": n, "stock_code": code} for n, code in enumerate(ids["item_idx"], 1)], {}),
        CUSTOMER_ID_MAP: ([{"user_idx": n, "customer_id": name} for n, name in enumerate(ids["user_idx"], 1)], {}),
        ITEM_POPULARITY: ([{"item_idx": n, "num_events": n} for n in range(1, 31)], {"fit": "full"}),
        RECOMMENDATIONS: (places, {}),
    }
    for artifact, (rows, keys) in tables.items():
        label = artifact.path_of(**keys)
        made = frame(spark, artifact.schema, rows).repartition(partitions)
        storage.publish("test", label, storage.stage_table("test", label, made, artifact.schema))
    rules = [{"rule": rule, "lines": {"missing_quantity": rejected}.get(rule, 0)} for rule in CLEAN_RULES]
    report = json.dumps({"funnel": {"lines_read": len(bought) + rejected, "rules": rules}})
    storage.publish("test", CLEANING_REPORT.path, storage.stage_text("test", CLEANING_REPORT.path, report))
    return str(root)


def run_monitor(root, *words):
    arguments = add_arguments(ArgumentParser()).parse_args(
        ["--set", f"paths.processed={root}", "--set", "evaluation.replicates=100", *words]
    )
    return guarded(lambda: monitor(arguments), debug=True)


def drift(root):
    document = json.loads((Path(root) / DRIFT.path).read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    names = [(measure["group"], measure["name"]) for measure in document["measures"]]
    assert len(names) == len(set(names))
    return document


@pytest.fixture(scope="module")
def reference(spark, tmp_path_factory):
    return write_run(spark, tmp_path_factory.mktemp("runs") / "reference", lines())


def write_csv(path, bought):
    names = ("customer_id", "stock_code", "invoice_date", "quantity", "line_amount", "category")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "invoice_id", "description"])
        for number, row in enumerate(bought):
            writer.writerow([*(row[name] for name in names), number, "ITEM"])
    return str(path)


def test_a_reshuffled_copy_raises_no_alarm_and_says_what_it_could_not_measure(spark, reference, tmp_path, capsys):
    copy = write_run(spark, tmp_path / "copy", lines()[::-1], partitions=7)
    assert run_monitor(copy, "--against", reference) == EXIT_DONE
    document = drift(copy)
    assert document["alarms"] == []
    assert {m["value"] for m in document["measures"] if m["group"] == "lines"} == {0}
    lacking = {measure["group"] for measure in document["measures"] if measure["verdict"] == NOT_MEASURED}
    assert lacking == {"features", "embeddings", "scores", "metrics", "money"}
    assert "not measured: embeddings" in capsys.readouterr().out
    manifest = Storage(copy, spark).manifest(DRIFT.path)
    assert {"interactions_clean.parquet", f"source:{reference}"} <= set(manifest.inputs)
    assert manifest.config["monitor"]["against"] == reference


def test_what_moved_ends_with_the_exit_of_a_missed_gate_after_both_files_are_there(spark, reference, tmp_path, capsys):
    moved = write_run(spark, tmp_path / "moved", lines(prices={"LAMPS": 3}), STRANGE)
    assert run_monitor(moved, "--against", reference) == EXIT_GATE
    document = drift(moved)
    assert {"lines.price_level", "lists.rank_overlap"} <= set(document["alarms"])
    assert not {"lists.coverage", "lists.gini", "unknown.customers"} & set(document["alarms"])
    assert Storage(moved, spark).require(DRIFT_HTML.path)
    page = (Path(moved) / DRIFT_HTML.path).read_text(encoding="utf-8")
    assert len(re.findall("<svg", page)) >= 2
    assert "measures passed their threshold" in capsys.readouterr().err


def test_new_lines_of_known_customers_raise_no_alarm_and_those_of_new_ones_do(spark, reference, tmp_path):
    run = write_run(spark, tmp_path / "run", lines())
    later = [
        {**row, "invoice_date": row["invoice_date"] + timedelta(days=60)}
        for row in lines(seed=2)
        if row["stock_code"] in LISTS[row["customer_id"]] or row["stock_code"] == "P3"
    ]
    known = write_csv(tmp_path / "known.csv", later)
    assert run_monitor(run, "--with", known) == EXIT_DONE
    (captured,) = [m for m in drift(run)["measures"] if m["name"] == "new_captured"]
    assert captured["value"] > 0.5
    strange = [{**row, "customer_id": f"new{row['customer_id']}"} for row in later]
    assert run_monitor(run, "--with", write_csv(tmp_path / "new.csv", strange)) == EXIT_GATE
    alarms = set(drift(run)["alarms"])
    assert {"unknown.customers", "money.new_uplift"} <= alarms
    assert not any(name.startswith(("lines.psi.price", "unknown.products")) for name in alarms)


def test_lines_that_lost_their_quantity_are_found_by_what_is_rejected(spark, reference, tmp_path, caplog):
    run = write_run(spark, tmp_path / "run", lines())
    later = [{**row, "invoice_date": row["invoice_date"] + timedelta(days=60)} for row in lines(seed=2)]
    broken = [{**row, "quantity": "" if number % 5 < 3 else row["quantity"]} for number, row in enumerate(later)]
    assert run_monitor(run, "--with", write_csv(tmp_path / "broken.csv", broken)) == EXIT_GATE
    (measure,) = [m for m in drift(run)["measures"] if m["name"] == "rejected"]
    assert (measure["value"], measure["verdict"]) == (0.6, "drift")
    assert "most changed what missing_quantity takes out, from 0.0% to 60.0%" in measure["sentence"]
    assert "new lines: 3,600 read, 2,160 rejected (missing_quantity 2,160)" in caplog.text
    fewer = write_run(spark, tmp_path / "fewer", lines(), rejected=3600)
    assert run_monitor(fewer, "--against", reference) == EXIT_GATE
    assert drift(fewer)["alarms"] == ["lines.rejected"]


def test_what_was_forgotten_in_the_earlier_run_is_not_measured(spark, tmp_path):
    earlier = write_run(spark, tmp_path / "earlier", lines())
    for artifact in (INTERACTIONS_CLEAN, CUSTOMER_ID_MAP, RECOMMENDATIONS):
        (Path(earlier) / f"{artifact.path}.manifest.json").unlink()
        shutil.rmtree(Path(earlier) / artifact.path)
    own = write_run(spark, tmp_path / "own", lines())
    assert run_monitor(own, "--against", earlier) == EXIT_DONE
    verdicts = {f"{m['group']}.{m['name']}": m["verdict"] for m in drift(own)["measures"]}
    assert verdicts.pop("lines.rejected") == "ok"
    assert {"lines.psi", "unknown.customers", "lists.rank_overlap"} <= set(verdicts)
    assert set(verdicts.values()) == {NOT_MEASURED}


def test_lines_that_the_run_has_are_not_new(spark, reference, tmp_path):
    run = write_run(spark, tmp_path / "run", lines())
    run_monitor(run, "--with", write_csv(tmp_path / "old.csv", lines()))
    (measure,) = [m for m in drift(run)["measures"] if m["group"] == "lines" and m["name"] != "rejected"]
    assert (measure["verdict"], measure["sentence"]) == (NOT_MEASURED, "one of the sides has no line")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), EXIT_USAGE, "give either --against RUN or --with FILES"),
        (("--against", "{run}", "--with", "x.csv"), EXIT_USAGE, "x.csv"),
        (("--against", "{empty}"), EXIT_USAGE, "is no run"),
        (("--against", "{run}/../reference"), EXIT_USAGE, "is the very run that is looked at"),
        (("--with", "{empty}/none.csv"), EXIT_USAGE, "does not exist"),
        (("--against", "{run}", "--set", "monitor.thresholds.psi=0"), EXIT_USAGE, "monitor.thresholds.psi"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(reference, tmp_path, capsys, words, code, told):
    given = [word.format(run=reference, empty=tmp_path) for word in words]
    assert run_monitor(reference, *given) == code
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_root_without_a_run_is_refused(reference, tmp_path, capsys):
    assert run_monitor(tmp_path / "nothing", "--against", reference) == EXIT_DATA
    assert "holds no complete run; make one with `recsys run`" in capsys.readouterr().err
