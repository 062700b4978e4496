"""One HTML page from facts and documents: no script, style, font or picture comes from outside it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recsys_spark.contracts.columns import K_VALUES
from recsys_spark.evaluation.ranking_metrics import HEADLINE, SECTIONS
from recsys_spark.plurals import things
from recsys_spark.report import words
from recsys_spark.report.charts import (
    ablation_charts,
    data_charts,
    ranker_charts,
    source_charts,
    step_name,
    training_charts,
)
from recsys_spark.report.evaluation_charts import evaluation_charts, ordered_models, segment_order
from recsys_spark.report.findings import findings
from recsys_spark.report.generic import flattened, tables_of
from recsys_spark.report.numbers import Figures, place, shown
from recsys_spark.report.svg import Chart

_ARABIC = re.compile(r"[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff]")
_RANKER_EXTRAS = {
    "importance": "Feature importance",
    "within_candidates": "Order within the candidates",
    "over_all_positives": "All positives of some queries",
    "calibration": "Calibration",
}


@dataclass(frozen=True)
class ReportFacts:
    """All that the page tells. documents: by name, those that the run has; what it lacks is None or left out."""

    documents: Mapping[str, Any]
    data: Mapping[str, Any]
    counts: Mapping[str, int]  # rows of sequences and queries by split, such as queries_test
    sources: Mapping[str, Any] | None = None
    samples: Sequence[Mapping[str, Any]] = ()
    moment: str = ""  # of the recommendations among the samples, in words
    run: Mapping[str, Any] | None = None


def render(facts: ReportFacts, charts: Sequence[Chart]) -> str:
    """The page as text, with those of the charts that have a place on it."""
    environment = Environment(
        loader=PackageLoader("recsys_spark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (_template(environment, name) for name in ("page.js", "page.css"))
    figures = Figures(facts.documents)
    environment.globals.update(
        fig=figures.show,
        between=figures.range,
        value=figures.value,
        place=place,
        shown=shown,
        text=text,
        things=things,
        words=words,
    )
    page = environment.get_template("page.html.j2")
    return page.render(
        facts=facts,
        **facts.documents,
        charts={chart.name: chart for chart in charts},
        charts_of=lambda start: [chart for chart in charts if chart.name.startswith(start)],
        finding=findings(facts.documents),
        ordered_models=ordered_models,
        segment_order=segment_order,
        step_name=step_name,
        flattened=flattened,
        sections=SECTIONS,
        k_values=K_VALUES,
        extras=_extras(facts.documents),
        style=Markup(style),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        headline=[HEADLINE.section, HEADLINE.label],
    )


def text(value: Any) -> Markup:
    """A text of the source in its own direction; Arabic is named as such, for the voice that reads it."""
    if value is None or value == "":
        return Markup('<span class="none">none</span>')
    language = Markup(' lang="ar"') if _ARABIC.search(str(value)) else ""
    return Markup('<bdi dir="auto"{}>{}</bdi>').format(language, value)


def _template(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def all_charts(facts: ReportFacts) -> list[Chart]:
    """Every chart that the facts give something for."""
    documents = facts.documents
    ranker = documents.get("ranker_results")
    charts = data_charts(facts.data, documents["split_cutoffs"])
    if documents.get("evaluation"):
        charts += evaluation_charts(documents["evaluation"])
    charts += training_charts(documents.get("twotower_results"), ranker)
    charts += source_charts(facts.sources) + ranker_charts(ranker)
    return charts + ablation_charts(documents.get("ranker_ablations"))


def _extras(documents: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the ranker's results may hold beside training, each with its tables; none where it is absent."""
    ranker = documents.get("ranker_results") or {}
    return [
        {"key": key, "title": title, "blocks": tables_of(ranker.get(key), (key,), title)}
        for key, title in _RANKER_EXTRAS.items()
    ]
