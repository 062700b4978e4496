"""Bytes that Spark spilled, from the store behind its UI, which the driver keeps with and without a UI."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from pyspark.sql import SparkSession

_EVENTS_MS = 10_000  # that events of tasks which have ended are waited for at most
log = logging.getLogger("recsys")


class Spill:
    """Counts what was spilled since it was last asked.

    Spark keeps its last thousand stages (`spark.ui.retainedStages`); what older ones spilled is not counted. Nothing is
    known where Python reaches no JVM of the driver, as by Spark Connect.
    """

    def __init__(self) -> None:
        self._counted: set[tuple[int, int]] = set()
        self._is_known = True

    def since_last_time(self, spark: SparkSession) -> int | None:
        """Bytes written to disk by tasks whose rows did not fit, None where Spark cannot be asked."""
        if not self._is_known:
            return None
        try:
            return self._fresh(spark.sparkContext)
        except Exception as error:  # no public interface: another Spark may have it otherwise
            log.debug("spilled bytes are not known: %s", error)
            self._is_known = False
            return None

    def _fresh(self, context: Any) -> int:
        scala, jvm = context._jsc.sc(), context._jvm
        with suppress(Exception):  # late events count with the next stage
            scala.listenerBus().waitUntilEmpty(_EVENTS_MS)
        complete = jvm.java.util.ArrayList()
        complete.add(jvm.org.apache.spark.status.api.v1.StageStatus.COMPLETE)
        stages = scala.statusStore().stageList(
            complete, False, False, context._gateway.new_array(jvm.double, 0), jvm.java.util.ArrayList()
        )
        spilled = 0
        for number in range(stages.size()):
            stage = stages.apply(number)
            key = (stage.stageId(), stage.attemptId())
            if key not in self._counted:
                self._counted.add(key)
                spilled += stage.diskBytesSpilled()
        return spilled
