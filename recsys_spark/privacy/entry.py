"""The one gate that lines pass on their way in: forgotten customers stay out, ids become pseudonyms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.privacy.customer_ids import key_fingerprint, key_of, keyed, per_text, pseudonym, pseudonymised
from recsys_spark.privacy.forgotten import Forgotten, load_forgotten

KEY_FACT = "pseudonymise_key"  # names the key's fingerprint in a recipe and in the manifests that follow from it


@dataclass(frozen=True)
class CustomerEntry:
    """key: of the pseudonyms, None where ids stay as they are."""

    key: bytes | None = field(default=None, repr=False)
    forgotten: Forgotten = field(default_factory=Forgotten)

    @staticmethod
    def of(config: IngestConfig, root: str) -> CustomerEntry:
        """What the config and the lists of a root ask for. Raises ConfigError without a key that is asked for."""
        return CustomerEntry(key_of(config), load_forgotten(root))

    def facts(self) -> dict[str, str]:
        """What a stage's recipe must know: a new key or a forgotten customer makes other lines."""
        facts = {KEY_FACT: key_fingerprint(self.key)} if self.key is not None else {}
        return facts | ({"forgotten_customers": self.forgotten.digest} if self.forgotten else {})

    def admit(self, lines: DataFrame, left_out: Observation | None = None) -> DataFrame:
        """RAW_LINES of those who may come in, under the names they go by.

        left_out: counts `lines` of forgotten customers once the frame is computed; ask it only where there are any.
        """
        if self.forgotten:
            is_forgotten = F.coalesce(per_text(self.is_forgotten, "boolean", F.col("customer_id")), F.lit(False))
            marked = lines.withColumn("_is_forgotten", is_forgotten)
            if left_out is not None:
                marked = marked.observe(left_out, F.count(F.when(F.col("_is_forgotten"), 1)).alias("lines"))
            lines = marked.filter("not _is_forgotten").drop("_is_forgotten")
        return lines if self.key is None else pseudonymised(lines, self.key)

    def named(self, ids: Column) -> Column:
        """A column of customer ids as a source shows them, under the names that they go by in artifacts."""
        return ids if self.key is None else keyed(self.key, ids)

    def is_forgotten(self, text: str) -> bool:
        """Whether an id is on a list, itself or by its pseudonym, which may be all that the person who asked knew."""
        return text in self.forgotten or (self.key is not None and pseudonym(self.key, text) in self.forgotten)

    def require_same_key(self, report: Mapping[str, Any]) -> None:
        """Raise ConfigError where the lines of ingest_report.json go by other names than these would."""
        here = key_fingerprint(self.key) if self.key is not None else None
        if report.get("pseudonymise_key") != here:
            raise ConfigError(
                "the customers of this run were given other names than new lines would be: set "
                "ingest.pseudonymise_key_env and its variable as they were for 'ingest', or run 'ingest' again"
            )
