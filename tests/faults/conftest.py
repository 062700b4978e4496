from __future__ import annotations

import os
import sys

import pytest

from jobs.pipeline import console
from tests.faults.fault_shop import FaultShop, open_shop

# The chain of kills takes minutes and every core: make test-faults runs it.
collect_ignore = [] if os.environ.get("RECSYS_TEST_FAULTS") else ["test_kills.py"]
STAGES = ["ingest", "clean", "entities", "sequences"]  # they write and shuffle, and take seconds


@pytest.fixture(scope="session")
def undisturbed(spark, tmp_path_factory) -> FaultShop:
    """A shop after STAGES, in this process."""
    shop = open_shop(tmp_path_factory.mktemp("undisturbed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recsys", "run", "--to", STAGES[-1], *shop.options])
        console()
    return shop
