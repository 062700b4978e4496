"""What is settled before anything is made or answered."""

from __future__ import annotations

import argparse
import socket

import pytest

from jobs import serve
from recsys_spark.contracts.errors import EXIT_USAGE, ConfigError
from tests.serving.worlds import SETTINGS

pytestmark = pytest.mark.torch


def test_a_port_that_is_taken_is_told_before_any_process_is_started(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("recsys_spark.serving.worker_pool.WorkerPool", started.append)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        words = ["--set", f"paths.processed={tmp_path / 'run'}", "--set", f"serve.port={port}"]
        given = [*words, *(word for pair in SETTINGS for word in ("--set", pair))]
        arguments = serve.add_arguments(argparse.ArgumentParser()).parse_args(given)
        with pytest.raises(ConfigError, match=f"serve.host:port 127.0.0.1:{port} .* already in use") as told:
            serve.serve(arguments)
    assert told.value.exit_code == EXIT_USAGE
    assert started == []
