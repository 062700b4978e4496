"""The small shop under faults: one source file, as many roots as there are tests, and what lies below each."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_spark.contracts.errors import ArtifactError
from recsys_spark.contracts.stages import STAGE_NAMES
from recsys_spark.manifest import SUFFIX
from recsys_spark.storage import Storage
from tests.faults.artifacts import contents
from tests.faults.command import REPOSITORY, Command, recsys
from tests.support.small_shop import settings_of, write_shop

# Planning takes most of the time of such small tables, and each partition is one more task. Less of each kind of work
# leaves every stage, every kind of file and every way of writing one.
_QUICK = (
    "baselines.models=[popularity]",
    "candidates.quotas={item_knn: 0, last_basket: 0, due: 0}",
    "ranker.refit=false",
    "analysis={importance_queries: 0, forced_queries: 0}",
    "evaluation.replicates=100",
)


@dataclass
class FaultShop:
    """A root of the shop. folder: holds the lines, and what commands print."""

    folder: Path
    root: Path

    @property
    def options(self) -> list[str]:
        """What a command is told of the shop; what follows on its command line counts more."""
        pairs = [*settings_of(self.folder, partitions=2), *_QUICK, f"paths.processed={self.root}"]
        config = str(REPOSITORY / "conf" / "workbook.yaml")
        return ["--config", config, *(word for pair in pairs for word in ("--set", pair))]

    def recsys(self, *words: str) -> AbstractContextManager[Command]:
        """Start a command on this root, in a process of its own."""
        return recsys(self.folder, words[0], *self.options, *words[1:])

    def finish(self, *words: str) -> Command:
        """A command and its end."""
        with self.recsys(*words) as command:
            command.end()
        return command

    @property
    def run(self) -> Path:
        """The folder of its newest run."""
        return max((self.root / "runs").iterdir())

    def published(self) -> list[str]:
        """Stages that have a record."""
        return [name for name in STAGE_NAMES if (self.run / "_stages" / f"{name}.json").exists()]

    def staged(self, stage: str) -> list[Path]:
        """Files that a stage has aside."""
        return [path for path in files_below(self.root / "runs") if f"/_staging/{stage}/" in str(path)]

    def half_published(self) -> list[str]:
        """What is wrong with artifacts that a reader would take for whole."""
        storage, wrong = Storage(str(self.run)), []
        for path in [found for found in files_below(self.run) if found.name.endswith(SUFFIX)]:
            try:
                storage.require(str(path.relative_to(self.run)).removesuffix(SUFFIX), "full")
            except ArtifactError as error:
                wrong.append(str(error))
        return wrong

    def contents(self) -> dict[str, Any]:
        """See `artifacts.contents`."""
        return contents(self.run)

    def document(self, name: str) -> dict[str, Any]:
        """A JSON file of the run."""
        return json.loads((self.run / name).read_text())

    def beside(self, name: str) -> FaultShop:
        """Another root over the same lines."""
        return FaultShop(self.folder, self.root.parent / name)


def files_below(folder: Path) -> list[Path]:
    """All files, also while others come and go, at which Path.glob fails."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def open_shop(folder: Path) -> FaultShop:
    """A shop whose root is still to be made."""
    write_shop(folder / "shop.csv")
    return FaultShop(folder, folder / "undisturbed")
