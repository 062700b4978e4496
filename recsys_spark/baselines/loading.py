"""Published tables as arrays inside a task: read once per Python process, not once per batch."""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys_spark.paths import filesystem

_TABLES_KEPT = 16  # a worker outlives a job; an unbounded cache would keep every artifact it ever read


@functools.lru_cache(maxsize=_TABLES_KEPT)
def load_table(path: str, content: str) -> pa.Table:
    """A table artifact. `content` is its fingerprint: a path that was published anew is read anew."""
    del content
    return read_columns(path)


def read_columns(path: str, *names: str) -> pa.Table:
    """Some columns of a table artifact (all without a name), for what is turned into arrays that are kept."""
    fs, plain = filesystem(path)
    return pq.read_table(plain, columns=list(names) or None, filesystem=fs)


@functools.lru_cache(maxsize=_TABLES_KEPT)
def load_codes(path: str, content: str) -> pa.Array:
    """Stock codes of an ITEM_ID_MAP by item_idx, (num_items + 1,); position 0 is padding and null."""
    table = load_table(path, content)
    order = pc.sort_indices(table, sort_keys=[("item_idx", "ascending")])
    codes = table.column("stock_code").take(order).combine_chunks()
    return pa.concat_arrays([pa.nulls(1, pa.string()), codes.cast(pa.string())])


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column as NumPy array."""
    return table.column(name).to_numpy()
