from __future__ import annotations

import pytest

from recsys_spark.contracts.monitor_config import MonitorConfig
from recsys_spark.monitoring.measures import DRIFTED, NOT_MEASURED, OK
from recsys_spark.monitoring.rejections import Rejections, rejected

CONFIG = MonitorConfig()


def test_rules_that_changed_places_are_found_though_all_together_take_as_much():
    before = Rejections(1000, {"missing_customer": 250, "return": 20})
    after = Rejections(1000, {"missing_customer": 0, "missing_quantity": 250, "return": 20})
    measure = rejected(before, after, CONFIG)
    assert (measure.value, measure.verdict) == (0.25, DRIFTED)
    assert measure.detail["rules"]["all rules"] == [0.27, 0.27]


def test_a_change_within_the_threshold_or_within_sampling_raises_no_alarm():
    before = Rejections(1000, {"return": 100})
    assert rejected(before, Rejections(1000, {"return": 190}), CONFIG).verdict == OK
    assert rejected(before, Rejections(10, {"return": 3}), CONFIG).verdict == OK  # one of ten was expected
    assert rejected(before, Rejections(1000, {"return": 300}), CONFIG).verdict == DRIFTED


def test_earlier_lines_are_taken_off_where_they_can_be_among_these():
    whole = Rejections(1100, {"return": 40, "missing_quantity": 60})
    assert whole.without(Rejections(1000, {"return": 40})) == Rejections(100, {"return": 0, "missing_quantity": 60})
    assert whole.without(Rejections(1000, {"return": 41})) is None
    assert whole.without(whole) is None


@pytest.mark.parametrize("other", [None, Rejections(0, {})])
def test_a_side_without_lines_or_report_is_not_measured(other):
    known = Rejections(10, {"return": 1})
    assert rejected(known, other, CONFIG).verdict == rejected(other, known, CONFIG).verdict == NOT_MEASURED
