from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.privacy.forget_shop import PREPARATION, run_stages, write_shop


@pytest.fixture(scope="session")
def prepared(spark, tmp_path_factory) -> Path:
    """A folder with a small shop and its finished preparation, to copy from."""
    folder = tmp_path_factory.mktemp("prepared")
    write_shop(folder / "shop.csv")
    run_stages(spark, folder, PREPARATION)
    return folder


@pytest.fixture
def copied(prepared, tmp_path) -> Path:
    shutil.copytree(prepared, tmp_path / "copy")
    return tmp_path / "copy"
