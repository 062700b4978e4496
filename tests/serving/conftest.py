"""One small run and its bundle for all tests of serving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from recsys_spark.serving.app import create_app
from recsys_spark.serving.bundle_reloader import BundleReloader
from recsys_spark.serving.prepare import prepare
from recsys_spark.serving.request_limiter import RequestLimiter
from tests.serving.worlds import EVENTS, held_here, served, write_run

ADDRESS = "http://127.0.0.1"


@pytest.fixture(scope="session")
def run_root(spark, tmp_path_factory):
    """The root of a run whose bundle is there."""
    root = tmp_path_factory.mktemp("served") / "first"
    prepare(served(root), write_run(spark, root, EVENTS))
    return root


@pytest.fixture(scope="module")
def reloader(run_root) -> BundleReloader:
    return held_here(served(run_root))


@pytest.fixture(scope="module")
def client(reloader) -> Iterator[TestClient]:
    limiter = RequestLimiter(threads=2, max_waiting=4, timeout_seconds=10.0)
    with TestClient(create_app(reloader, limiter), base_url=ADDRESS, client=("127.0.0.1", 5000)) as found:
        yield found
    limiter.close()
