from __future__ import annotations

import pytest

from tests.support.shops import NAMES, Shop


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Shop:
    """A shop whose three stages are all that there are."""
    for module in ("choose", "work", "pipeline"):
        monkeypatch.setattr(f"recsys_spark.runs.{module}.STAGE_NAMES", NAMES)
    return Shop(tmp_path)
