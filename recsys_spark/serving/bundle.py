"""A bundle: what answering needs of one run, in one local folder that never changes, most of it to be mapped.

bundle.json                     BundleCard, written last
run/                            the artifacts that the models are made of, as the run has them, and their arrays
items.arrow, customers.arrow    ids, and the texts of items
*.npy                           what is known of customers and items; see `CustomerArrays` and `ItemArrays`
rules/*.npy                     the rules of the business for items; see `ItemRules`
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from bisect import bisect_left
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

from recsys_spark.arrays import Ints
from recsys_spark.baselines.mapped_arrays import map_array
from recsys_spark.contracts.errors import ArtifactError

CARD = "bundle.json"
_DAY_SECONDS = 86_400
_NAME, _HALF_MADE = re.compile(r"[0-9a-f]{16}"), re.compile(r"\.[0-9a-f]{16}\.\w+")  # of folders; others are not ours
_AGAIN = "remove the folder and start again"


@dataclass(frozen=True, kw_only=True)
class BundleCard:
    """What bundle.json says. run: name of the run; digest: of all that the bundle was made from.

    moment: microseconds since 1970 (UTC) just after the last event, the time that is recommended for. models: names by
    protocol. inputs: content of each artifact. tables: digests of the files that the business keeps. features,
    sources: columns of what is proposed to known customers, empty where the model has no second stage. files: bytes of
    each.
    """

    format: int
    run: str
    digest: str
    fit: str
    moment: int
    models: dict[str, str]
    inputs: dict[str, str]
    tables: dict[str, str]
    num_customers: int
    num_items: int
    num_events: int
    num_offers: int
    features: tuple[str, ...]
    sources: tuple[str, ...]
    created: str
    files: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> BundleCard:
        """Raises ArtifactError for a folder that holds no whole bundle."""
        try:
            values = json.loads((folder / CARD).read_text(encoding="utf-8"))
            card = cls(**{**values, "features": tuple(values["features"]), "sources": tuple(values["sources"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"{folder} holds no bundle ({type(error).__name__}); {_AGAIN}") from error
        sizes = file_sizes(folder)
        odd = sorted(name for name in card.files if sizes.get(name) != card.files[name])
        if odd:
            raise ArtifactError(f"{folder} differs from its {CARD} in {', '.join(odd[:3])}; {_AGAIN}")
        return card

    def write(self, folder: Path) -> None:
        (folder / CARD).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a bundle but its card."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files if path.name != CARD}


@dataclass(frozen=True)
class CustomerArrays:
    """Events of user_idx u at [event_offsets[u], event_offsets[u + 1]), proposals likewise by offer_offsets.

    Names: C proposals of all customers, S sources, F features.
    items, micros, quantities, showrooms, channels: of the events, in time order.
    offer_items (C,), offer_ranks (C, S), offer_features (C, F): what the sources propose at the bundle's moment, best
    first, and what the ranker is told of it.
    barred_items: what is not to be recommended to a customer, those of u at [barred_offsets[u], barred_offsets[u + 1]).
    """

    event_offsets: Ints
    items: Ints
    micros: Ints
    quantities: np.ndarray
    showrooms: Ints
    channels: Ints
    offer_offsets: Ints
    offer_items: Ints
    offer_ranks: np.ndarray
    offer_features: np.ndarray
    barred_offsets: Ints
    barred_items: Ints

    @classmethod
    def mapped(cls, folder: Path) -> CustomerArrays:
        return cls(**{name: map_array(folder / f"{name}.npy") for name in cls.__dataclass_fields__})


class Ids:
    """External ids <-> dense indices, over a mapped table, in which ids are looked up by bisection."""

    def __init__(self, path: Path) -> None:
        self.table = ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        self._by_index = self.table.column(0).chunk(0)
        self._texts = {name: self.table.column(name).chunk(0) for name in self.table.column_names}
        self._order = self.table.column("order").to_numpy()

    def __len__(self) -> int:
        return len(self._order) - 1

    def find(self, text: str) -> int | None:
        """The index of an id, None for one that there is not."""
        place = bisect_left(range(len(self)), text, key=lambda place: self.of(self._order[place + 1]))
        if place == len(self):
            return None
        index = int(self._order[place + 1])
        return index if self.of(index) == text else None

    def of(self, index: int) -> str:
        return str(self._by_index[index].as_py())

    def text(self, index: int, column: str) -> str | None:
        """Another text of the index, such as the description of an item; None where it has none."""
        found: str | None = self._texts[column][index].as_py()
        return found


def write_ids(path: Path, indices: Ints, columns: dict[str, pa.Array]) -> None:
    """One row per index from 0, of which 0 is padding; column `order` holds from row 1 on the indices in the order of
    the first column's texts. indices: 1..N in any order, columns: texts beside them.
    """
    place = np.argsort(indices, kind="stable")
    padded = {
        name: pa.concat_arrays([pa.array([""], pa.large_string()), texts.cast(pa.large_string()).take(pa.array(place))])
        for name, texts in columns.items()
    }
    first = next(iter(padded.values()))
    order = pc.sort_indices(first.slice(1)).to_numpy().astype(np.int64) + 1  # by bytes, which is how Python compares
    table = pa.table({**padded, "order": pa.array(np.concatenate([[0], order]))})
    with ipc.new_file(str(path), table.schema) as file:
        file.write_table(table)


def publish(staged: Path, target: Path) -> None:
    """Move a whole bundle into place; where another process was faster, its bundle stays."""
    try:
        staged.replace(target)
    except OSError:
        if not (target / CARD).exists():
            raise
        shutil.rmtree(staged)


def prune(folder: Path, keep: int, in_use: set[str]) -> list[str]:
    """Remove all but the newest bundles and those in use; returns the names of what went.

    What a process that was killed left half made goes after a day. Whatever is not named as a bundle stays.
    """
    for half_made in (path for path in folder.iterdir() if _HALF_MADE.fullmatch(path.name)):
        if half_made.stat().st_mtime < time.time() - _DAY_SECONDS:
            shutil.rmtree(half_made, ignore_errors=True)
    bundles = sorted(folder.glob(f"*/{CARD}"), key=lambda card: card.stat().st_mtime, reverse=True)
    names = [card.parent.name for card in bundles if _NAME.fullmatch(card.parent.name)]
    old = [name for name in names[keep:] if name not in in_use]
    for name in old:
        aside = folder / f".{name}.{os.getpid()}"
        (folder / name).rename(aside)  # at once: half a bundle must not be found
        shutil.rmtree(aside, ignore_errors=True)
    return old
