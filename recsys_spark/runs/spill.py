"""Bytes that Spark spilled, from the REST interface of its UI: the DataFrame API itself does not tell them."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import suppress
from typing import Any

from pyspark.sql import SparkSession

_FIRST_PORT, _PORTS = 4040, 17  # Spark takes the next port where one is taken, sixteen times
_TIMEOUT_SECONDS = 20.0  # the first answer takes seconds
_SEARCH_SECONDS = 30.0  # after which an interface that was not found is given up


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
            self._address = _address(str(host), first, app)
        return _answer(f"{self._address}/{app}/stages?status=complete") if self._address else None


def _address(host: str, first: int, app: str) -> str | None:
    """Where the application answers; another one may hold the first ports."""
    give_up = time.monotonic() + _SEARCH_SECONDS
    for port in range(first, first + _PORTS):
        address = f"http://{host}:{port}/api/v1/applications"
        found = _answer(address) if time.monotonic() < give_up else None
        if found and any(each["id"] == app for each in found):
            return address
    return None


def _answer(address: str) -> list[dict[str, Any]] | None:
    with suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found
    return None
