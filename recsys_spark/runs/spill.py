"""Bytes that Spark spilled, from the REST interface of its UI: the DataFrame API itself does not tell them."""

from __future__ import annotations

import json
import urllib.request
from contextlib import suppress
from typing import Any

from pyspark.sql import SparkSession

_FIRST_PORT, _PORTS = 4040, 4  # Spark takes the next port where one is taken
_TIMEOUT_SECONDS = 10.0  # the first answer takes seconds


class Spill:
    """Counts what was spilled since it was last asked. Without a UI (`spark.ui.enabled: false`) nothing is known.

    Spark keeps its last thousand stages (`spark.ui.retainedStages`); what older ones spilled is not counted.
    """

    def __init__(self) -> None:
        self._counted: set[tuple[int, int]] = set()
        self._address: str | None = None
        self._is_known = True

    def since_last_time(self, spark: SparkSession) -> int | None:
        """Bytes written to disk by tasks whose rows did not fit, None where Spark cannot be asked."""
        if not self._is_known:
            return None
        stages = self._stages(spark)
        if stages is None:
            self._is_known = False
            return None
        fresh = {(stage["stageId"], stage["attemptId"]): stage["diskBytesSpilled"] for stage in stages}
        spilled = sum(value for key, value in fresh.items() if key not in self._counted)
        self._counted |= fresh.keys()
        return spilled

    def _stages(self, spark: SparkSession) -> list[dict[str, Any]] | None:
        app = spark.conf.get("spark.app.id", None)
        if spark.conf.get("spark.ui.enabled", "true") == "false" or app is None:
            return None
        if self._address is None:
            first = int(spark.conf.get("spark.ui.port", None) or _FIRST_PORT)
            host = spark.conf.get("spark.driver.host", "localhost")
            for port in range(first, first + _PORTS):
                found = _answer(f"http://{host}:{port}/api/v1/applications")
                if found and any(each["id"] == app for each in found):
                    self._address = f"http://{host}:{port}/api/v1/applications/{app}/stages?status=complete"
                    break
        return _answer(self._address) if self._address else None


def _answer(address: str) -> list[dict[str, Any]] | None:
    with suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found
    return None
