"""Customer ids as they come in: spelled one way, and replaced by keyed hashes where that is asked for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from recsys_spark import spelling
from recsys_spark.cleaning.text import filled, is_plain, whole_number
from recsys_spark.contracts.columns import LINE_COLUMNS
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.ingest.source_frames import RAGGED

_MIN_KEY_LETTERS = 16
_PREFIX = "c"  # so that no program takes a pseudonym for a number, a date or a formula
_LETTERS = 20
_PSEUDONYM = re.compile(rf"{_PREFIX}[a-z2-7]{{{_LETTERS}}}")

Transform = Callable[[str], Any]


def normal_id(text: str) -> str:
    """The one spelling of a customer id: without marks and outer blanks, and a number cell as the digits that it shows.

    >>> normal_id(" 71053.0 "), normal_id("00042"), normal_id("A-7.0"), normal_id("\u00a0"), normal_id("\u200f7")
    ('71053', '00042', 'A-7.0', '', '7')
    """
    return spelling.whole_number(spelling.bare(text))


def normal_ids(ids: Column) -> Column:
    """`normal_id` of a column, without Python; null for a blank one."""
    # Nearly every id is plain digits or letters.
    return F.when(is_plain(ids) & ~ids.contains("."), ids).otherwise(whole_number(filled(ids)))


def pseudonym(key: bytes, text: str) -> str:
    """`c` and the first 20 letters, 100 bits, of the base32 form of HMAC-SHA256(key, normal id); blank stays blank.

    Two of n customers share a pseudonym with a probability of about n^2 / 2^101: 4e-19 for a million customers,
    4e-13 for a thousand million. Without the key neither an id can be told from its pseudonym nor a guess be tested.

    >>> pseudonym(b"a key of a test, no secret", "71053") == pseudonym(b"a key of a test, no secret", " 71053.0")
    True
    """
    normal = normal_id(text)
    if not normal:
        return ""
    digest = hmac.new(key, normal.encode(), hashlib.sha256).digest()
    return _PREFIX + base64.b32encode(digest).decode().lower()[:_LETTERS]


def is_pseudonym(text: str) -> bool:
    """Whether an id has the form of a pseudonym, whatever key it is of.

    >>> is_pseudonym(pseudonym(b"a key of a test, no secret", "71053")), is_pseudonym("71053")
    (True, False)
    """
    return _PSEUDONYM.fullmatch(normal_id(text)) is not None


def key_of(config: IngestConfig) -> bytes | None:
    """The key that the config's variable holds, None where no variable is named.

    Raises ConfigError, which names the variable and never shows what it holds.
    """
    name = config.pseudonymise_key_env
    if name is None:
        return None
    key = os.environ.get(name, "")
    if len(key) < _MIN_KEY_LETTERS:
        state = "is not set" if not key else f"holds fewer than {_MIN_KEY_LETTERS} characters"
        raise ConfigError(
            f"ingest.pseudonymise_key_env names the environment variable {name}, which {state}; "
            "set it to a random secret and keep that: another one makes other customers"
        )
    return key.encode()


def key_fingerprint(key: bytes) -> str:
    """What tells two keys apart and gives neither away; for manifests."""
    return hmac.new(key, b"b2b-recommender: which key this is", hashlib.sha256).hexdigest()[:16]


def pseudonymised(lines: DataFrame, key: bytes) -> DataFrame:
    """RAW_LINES whose customers, and all values of their other columns, are pseudonyms.

    What the source's other columns hold is not known: any may be a name or the id once more, so each value of `extra`
    is hashed as an id is, which keeps equal ones equal. Of a CSV line with too many or too few fields nobody knows in
    which column the id came to lie, so all its cells go. The key is in no query plan: Spark shows those in its UI.
    """
    is_ragged = F.get_json_object("extra", f"$.{RAGGED}").isNotNull()
    whole = {name: F.when(~F.coalesce(is_ragged, F.lit(False)), F.col(name)).alias(name) for name in LINE_COLUMNS}
    replaced = {
        "customer_id": keyed(key, whole["customer_id"]),
        "extra": per_text(lambda text: _hashed_values(key, text), "string", F.col("extra")),
    }
    chosen = {**{name: F.col(name) for name in lines.columns}, **whole, **replaced}
    return lines.select(*(chosen[name].alias(name) for name in lines.columns))


def keyed(key: bytes, ids: Column) -> Column:
    """The pseudonyms of a column of customer ids; null for a blank one."""
    return per_text(lambda text: pseudonym(key, text) or None, "string", ids)


def per_text(transform: Transform, type_: str, column: Column) -> Column:
    """A Python function of a text column, computed once per distinct text of a batch; null stays null."""

    def applied(texts: pd.Series) -> pd.Series:
        codes, distinct = pd.factorize(texts)
        values = [transform(text) for text in distinct]
        return pd.Series([values[code] if code >= 0 else None for code in codes], dtype=object)

    return pandas_udf(applied, type_)(column)  # type: ignore[call-overload]


def _hashed_values(key: bytes, extra: str) -> str:
    values = {name: pseudonym(key, str(value)) for name, value in json.loads(extra).items()}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
