"""What monitoring found, for the terminal, at most 100 columns wide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from recsys_spark.monitoring.measures import DRIFTED, INFO, NOT_MEASURED, OK
from recsys_spark.plurals import counted

WIDTH = 100


def drift_words(document: Mapping[str, Any]) -> str:
    """Every alarm with its sentence, what could not be measured, and how many of each verdict there are."""
    lines = []
    for verdict, mark in ((DRIFTED, "drift"), (NOT_MEASURED, "not measured")):
        for measure in document["measures"]:
            if measure["verdict"] == verdict:
                text = f"{mark}: {measure['group']}.{measure['name']}: {measure['sentence']}"
                lines += wrap(text, WIDTH, subsequent_indent="  ")
    counts = Counter(measure["verdict"] for measure in document["measures"])
    told = (
        f"{counts[verdict]} {name}"
        for verdict, name in ((OK, "ok"), (DRIFTED, "drift"), (INFO, "told"), (NOT_MEASURED, "not measured"))
    )
    return "\n".join([*lines, f"{counted(len(document['measures']), 'measure')}: {', '.join(told)}"])
