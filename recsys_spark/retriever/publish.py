"""Publishes what training left of a tower, and the index over its item vectors."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recsys_spark.contracts.artifacts import ITEM_ID_MAP, TOWER_FILES, TOWER_JOB
from recsys_spark.contracts.retriever_config import IndexConfig
from recsys_spark.paths import on_disk, put_file
from recsys_spark.stage import StageIO


def publish_tower(
    io: StageIO, config: IndexConfig, folder: str, tower: str, fit: str, seed: int, job: str
) -> dict[str, Any]:
    """Index the item vectors in a folder, publish all files of the tower, and say what index it is.

    job: the text of the job that trained it, one of the files.

    Raises GateError, with nothing published, where the index finds too little.
    """
    from recsys_spark.candidates.index_build import write_index  # faiss, which other commands need not load

    _, id_map = io.path_and_content(ITEM_ID_MAP)
    every_item = np.arange(1, io.num_rows(ITEM_ID_MAP) + 1)  # those that the fit has not seen have no vector
    with on_disk(folder) as local:
        Path(local, Path(TOWER_JOB.path).name).write_text(job, encoding="utf-8")
        card = write_index(local, every_item, id_map, config, seed)
        for artifact in TOWER_FILES:
            source = Path(local) / Path(artifact.path).name
            io.write_file(artifact, partial(put_file, str(source)), fit=fit, tower=tower)
    return asdict(card)
