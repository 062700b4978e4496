"""Submitted by test_cluster.py: tells what a job finds on a cluster, as one line of JSON.

The training function is nested: it travels by value, as if it were of a file that only the driver has.
"""

from __future__ import annotations

import json
import sys

from recsys_spark.command_line import config_of
from recsys_spark.gpu_launch import launch
from recsys_spark.session import get_session


def executor_files(batches):
    from pathlib import Path

    import pyarrow as pa

    import recsys_spark.contracts.columns

    for _ in batches:
        told = {"file": [recsys_spark.contracts.columns.__file__], "folder": [str(Path.cwd())]}
        yield pa.RecordBatch.from_pydict(told)


def training(given: int):
    def train(given: int) -> dict:
        import torch

        import training.process_group

        with training.process_group.process_group() as group:
            total = group.sum(torch.tensor([float(given + group.rank)]))
        return {"total": total.item(), "file": training.process_group.__file__}

    return train, given


def main() -> None:
    session = config_of(sys.argv[1:2], ()).session
    spark = get_session(session)
    found = spark.range(4).repartition(4).mapInArrow(executor_files, "file string, folder string").distinct().collect()
    train, given = training(10)
    told = {
        "master": spark.conf.get("spark.master"),
        "partitions": spark.conf.get("spark.sql.shuffle.partitions"),
        "app": spark.conf.get("spark.app.name"),
        "ansi": spark.conf.get("spark.sql.ansi.enabled"),
        "daemon": spark.conf.get("spark.python.daemon.module", None),
        "executor_files": sorted({row.file for row in found}),
        "executor_folders": sorted({row.folder for row in found}),
        "barrier": launch(spark, train, given, num_processes=2, launcher="barrier"),
        "local": launch(spark, train, given, num_processes=2, launcher="local"),
    }
    spark.stop()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
