"""What a run prints when it is done: where things are, how good the models are, and ten recommendations."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import EVALUATION, INGEST_REPORT, RECOMMENDATIONS, RECOMMENDATIONS_XLSX, REPORT
from recsys_spark.contracts.schemas import RECOMMENDATIONS as RECOMMENDATIONS_TABLE
from recsys_spark.evaluation.console import evaluation_table
from recsys_spark.stage import Outcome
from recsys_spark.storage import Storage

_SHOWN = 10


def run_summary(storage: Storage, outcomes: Mapping[str, Outcome], location: str | None = None) -> str:
    """The run's results as text; sections whose artifacts do not exist yet are left out.

    location: the name under which the artifacts are best found, if not the storage's own.
    """
    location = location or storage.location
    lines = []
    if storage.manifest(EVALUATION.path) and outcomes.get("evaluate") and outcomes["evaluate"].skipped:
        lines += [evaluation_table(storage.read_json(EVALUATION.path)), ""]
    if storage.manifest(RECOMMENDATIONS.path):
        lines += [_some_recommendations(storage), ""]
    if storage.manifest(INGEST_REPORT.path) and (skipped := storage.read_json(INGEST_REPORT.path)["skipped_files"]):
        lines.append(f"skipped:   {len(skipped):,} source files, with reasons in {location}/{INGEST_REPORT.path}")
    lines.append(f"artifacts: {location}")
    if storage.manifest(RECOMMENDATIONS_XLSX.path):
        lines.append(f"workbook:  {location}/{RECOMMENDATIONS_XLSX.path}")
    if storage.manifest(REPORT.path):
        lines.append(f"report:    {location}/{REPORT.path}")
    return "\n".join(lines)


def _some_recommendations(storage: Storage) -> str:
    """The first recommendations of the customer with the most reasons of its own, of the first by id among equals."""
    table = storage.read_table(RECOMMENDATIONS.path, RECOMMENDATIONS_TABLE)
    own = F.count(F.when(F.col("reason_kind") == "repeat", 1)).alias("own")
    first = table.groupBy("customer_id").agg(own).orderBy(F.desc("own"), "customer_id").first()
    if first is None:
        return "no customer to recommend to"
    rows = table.filter(F.col("customer_id") == first["customer_id"]).orderBy("rank").limit(_SHOWN).collect()
    lines = [f"recommended to customer {rows[0]['customer_id']}"]
    for row in rows:
        text = (row["description"] or "")[:36]
        lines.append(f"{row['rank']:>4}  {row['stock_code']:<12} {text:<36}  {row['reason']}"[:100])
    return "\n".join(lines)
