"""What a test wants of the machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def is_missing(what: str) -> NoReturn:
    """Skip the test for want of something; on a machine of CI, where .ci/run installs it, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; on a machine of CI .ci/run installs it")
    pytest.skip(what)
