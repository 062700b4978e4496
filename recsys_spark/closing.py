"""What a run prints when it is done: where things are, how good the models are, and ten recommendations."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import functions as F

from recsys_spark.contracts.artifacts import EVALUATION, RECOMMENDATIONS, RECOMMENDATIONS_XLSX
from recsys_spark.contracts.schemas import RECOMMENDATIONS as RECOMMENDATIONS_TABLE
from recsys_spark.evaluation.console import evaluation_table
from recsys_spark.stage import Outcome
from recsys_spark.storage import Storage

_SHOWN = 10


def closing_words(storage: Storage, outcomes: Mapping[str, Outcome]) -> str:
    """The run's results as text; sections whose artifacts do not exist yet are left out."""
    lines = []
    if storage.manifest(EVALUATION.path) and outcomes.get("evaluate") and outcomes["evaluate"].skipped:
        lines += [evaluation_table(storage.read_json(EVALUATION.path)), ""]
    if storage.manifest(RECOMMENDATIONS.path):
        lines += [_some_recommendations(storage), ""]
    lines.append(f"artifacts: {storage.location}")
    if storage.manifest(RECOMMENDATIONS_XLSX.path):
        lines.append(f"workbook:  {storage.location}/{RECOMMENDATIONS_XLSX.path}")
    return "\n".join(lines)


def _some_recommendations(storage: Storage) -> str:
    """The first recommendations of the customer whose id comes first."""
    table = storage.read_table(RECOMMENDATIONS.path, RECOMMENDATIONS_TABLE)
    first = table.agg(F.min("customer_id").alias("customer_id"))
    rows = table.join(F.broadcast(first), on="customer_id", how="inner").orderBy("rank").limit(_SHOWN).collect()
    if not rows:
        return "no customer to recommend to"
    lines = [f"recommended to customer {rows[0]['customer_id']}"]
    for row in rows:
        text = (row["description"] or "")[:36]
        lines.append(f"{row['rank']:>4}  {row['stock_code']:<12} {text:<36}  {row['reason']}"[:100])
    return "\n".join(lines)
