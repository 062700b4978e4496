"""The registry of artifacts: what stages leave behind, under which name and path.

Code names artifacts; only `storage.py` turns them into paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Formatter

from recsys_spark.contracts import candidate_schemas, model_schemas, retriever_schemas, schemas
from recsys_spark.contracts.columns import SPLITS
from recsys_spark.contracts.errors import StageGraphError
from recsys_spark.contracts.schemas import Table

_KEY = r"[A-Za-z0-9_-]+"
FITS = ("fold", "train", "val", "full")


@dataclass(frozen=True)
class Artifact:
    """One artifact, or a family of them whose path has keys such as {fit} or {split}.

    kind: `table` (a Parquet folder), `json`, or `file` (anything else; the stage writes it to a local path).
    """

    name: str
    kind: str
    path: str
    schema: Table | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Names that a caller must give to get a path.

        >>> Artifact("rankings", kind="table", path="rankings_{model}_{split}.parquet").keys
        ('model', 'split')
        """
        return tuple(field for _, field, _, _ in Formatter().parse(self.path) if field)

    def path_of(self, **keys: str) -> str:
        """Path below the root; raises StageGraphError unless exactly the artifact's keys are given, as plain words."""
        if set(keys) != set(self.keys):
            raise StageGraphError(f"artifact '{self.name}' takes the keys {list(self.keys)}, got {sorted(keys)}")
        odd = {key: value for key, value in keys.items() if not re.fullmatch(_KEY, value)}
        if odd:  # a slash would make a path of its own
            raise StageGraphError(f"keys of artifact '{self.name}' must be of letters, digits, _ and -, got {odd}")
        return self.path.format(**keys)

    def matches(self, label: str) -> bool:
        """Whether a label is this artifact's, whatever its keys.

        >>> item_days = Artifact("days", kind="table", path="fit={fit}/days.parquet")
        >>> item_days.matches("fit=val/days.parquet"), item_days.matches("fit=val/../days.parquet")
        (True, False)
        """
        parts = (re.escape(text) + (_KEY if key else "") for text, key, _, _ in Formatter().parse(self.path))
        return re.fullmatch("".join(parts), label) is not None


def _table(name: str, schema: Table, path: str | None = None) -> Artifact:
    return Artifact(name, kind="table", path=path or f"{name}.parquet", schema=schema)


def _fitted(name: str, schema: Table) -> Artifact:
    """name: may hold further keys, such as {part}."""
    return _table(name.split("_{")[0], schema, path=f"fit={{fit}}/{name}.parquet")


def _tower_file(name: str) -> Artifact:
    """A file that a trained tower leaves."""
    return Artifact(name, kind="file", path=f"fit={{fit}}/two_tower_{{tower}}/{name}")


def _json(name: str) -> Artifact:
    return Artifact(name, kind="json", path=f"{name}.json")


RAW_LINES = _table("raw_lines", schemas.RAW_LINES)
INGEST_REPORT = _json("ingest_report")
INTERACTIONS_CLEAN = _table("interactions_clean", schemas.INTERACTIONS_CLEAN)
REJECTED_LINES = _table("rejected_lines", schemas.REJECTED_LINES)
SPLIT_CUTOFFS = _json("split_cutoffs")
CLEANING_REPORT = _json("cleaning_report")
ITEMS_CLEAN = _table("items_clean", schemas.ITEMS_CLEAN)
CUSTOMERS_CLEAN = _table("customers_clean", schemas.CUSTOMERS_CLEAN)
ITEM_ID_MAP = _table("item_id_map", schemas.ITEM_ID_MAP)
CUSTOMER_ID_MAP = _table("customer_id_map", schemas.CUSTOMER_ID_MAP)
PURCHASE_TABLES = (INTERACTIONS_CLEAN, ITEM_ID_MAP, CUSTOMER_ID_MAP)
SEQUENCES = _table("sequences", schemas.SEQUENCES, path="sequences_{split}.parquet")
QUERIES = _table("queries", schemas.QUERIES, path="queries_{split}.parquet")
ITEM_POPULARITY = _table("item_popularity", schemas.ITEM_POPULARITY, path="fit={fit}/item_popularity.parquet")
KNN_SOURCE = _fitted("knn_source", model_schemas.KNN_SOURCE)
USER_ITEM_MATRIX = _fitted("user_item_matrix", model_schemas.USER_ITEM_MATRIX)
ITEM_NEIGHBOURS = _fitted("item_neighbours", model_schemas.ITEM_NEIGHBOURS)
USER_NEIGHBOURS = _fitted("user_neighbours", model_schemas.USER_NEIGHBOURS)
EASE_WEIGHTS = _fitted("ease_weights", model_schemas.EASE_WEIGHTS)
CATEGORY_POPULARITY = _fitted("category_popularity", model_schemas.CATEGORY_POPULARITY)
SEGMENT_POPULARITY = _fitted("segment_popularity", model_schemas.SEGMENT_POPULARITY)
TIFU_VECTORS = _fitted("tifu_vectors", model_schemas.TIFU_VECTORS)
NMF_FACTORS = _fitted("nmf_factors", model_schemas.NMF_FACTORS)
ITEM_DAYS = _table("item_days", model_schemas.ITEM_DAYS)
ITEM_CONTENT = _table("item_content", model_schemas.ITEM_CONTENT)
MODEL_TABLES = (  # what baselines are made of, beside item_popularity
    KNN_SOURCE,
    USER_ITEM_MATRIX,
    ITEM_NEIGHBOURS,
    USER_NEIGHBOURS,
    EASE_WEIGHTS,
    CATEGORY_POPULARITY,
    SEGMENT_POPULARITY,
    TIFU_VECTORS,
    NMF_FACTORS,
    ITEM_DAYS,
    ITEM_CONTENT,
)
TOWER_EXAMPLES = _table("tower_examples", retriever_schemas.TOWER_EXAMPLES, "tower_examples_{source}_{part}.parquet")
TOWER_ITEMS = _fitted("tower_items_{source}", retriever_schemas.TOWER_ITEMS)
ITEM_SALES = _fitted("item_sales", retriever_schemas.ITEM_SALES)
CO_PURCHASES = _fitted("co_purchases", retriever_schemas.CO_PURCHASES)
USER_HISTORIES = _fitted("user_histories", retriever_schemas.USER_HISTORIES)
RETRIEVER_TABLES = (TOWER_EXAMPLES, TOWER_ITEMS, ITEM_SALES, CO_PURCHASES, USER_HISTORIES)
USER_EMBEDDINGS = _tower_file("user_embeddings.npy")
ITEM_EMBEDDINGS = _tower_file("item_embeddings.npy")
ITEM_OFFSETS = _tower_file("item_offsets.npy")
USER_TOWER = _tower_file("user_tower.npz")
ITEM_INDEX = _tower_file("index.faiss")
ITEM_INDEX_CARD = _tower_file("index.json")
TOWER_JOB = _tower_file("job.json")
TOWER_FILES = (USER_EMBEDDINGS, ITEM_EMBEDDINGS, ITEM_OFFSETS, USER_TOWER, TOWER_JOB, ITEM_INDEX, ITEM_INDEX_CARD)
TWOTOWER_RESULTS = _json("twotower_results")
CANDIDATES = _table("candidates", candidate_schemas.CANDIDATES, "candidates_{split}.parquet")
CANDIDATES_FORCED = _table(
    "candidates_forced", candidate_schemas.CANDIDATES_FORCED, "candidates_forced_{split}.parquet"
)
ITEM_FACTS = _fitted("item_facts", candidate_schemas.ITEM_FACTS)
ITEM_PLACES = _fitted("item_places", candidate_schemas.ITEM_PLACES)
CUSTOMER_PLACES = _fitted("customer_places", candidate_schemas.CUSTOMER_PLACES)
FEATURE_TABLES = (ITEM_FACTS, ITEM_PLACES, CUSTOMER_PLACES)
RANKER_FEATS = _table("ranker_feats", candidate_schemas.RANKER_FEATS, "ranker_feats_{part}_shards")
RANKER_BEST = Artifact("ranker_best", kind="file", path="fit={fit}/ranker_best.pt")
RANKER_JOB = Artifact("ranker_job", kind="file", path="fit={fit}/ranker_job.json")
RANKER_RESULTS = _json("ranker_results")
RANKER_ABLATIONS = _json("ranker_ablations")
RANKINGS = _table("rankings", schemas.RANKINGS, path="rankings_{model}_{split}.parquet")
POSITIVE_RANKS = _table("positive_ranks", schemas.POSITIVE_RANKS, path="positive_ranks_{model}_{split}.parquet")
BASELINE_RESULTS = _json("baseline_results")
EVALUATION = _json("evaluation")
RECOMMENDATIONS = _table("recommendations", schemas.RECOMMENDATIONS)
RECOMMENDATIONS_XLSX = Artifact("recommendations_xlsx", kind="file", path="recommendations.xlsx")
REPORT = Artifact("report", kind="file", path="report.html")
DRIFT = _json("drift")
DRIFT_HTML = Artifact("drift_html", kind="file", path="drift.html")

ARTIFACTS = {artifact.name: artifact for artifact in tuple(globals().values()) if isinstance(artifact, Artifact)}
SPLIT_OF_FIT = {"train": "val", "val": "test"}  # queries of these splits are ranked by models of these fits
FIT_OF_SPLIT = {"train": "fold", **{split: fit for fit, split in SPLIT_OF_FIT.items()}}  # of candidates and features
PARTS_OF_RANKER = {  # of RANKER_FEATS, that the ranker of each fit learns from; `dev` says for how long
    "train": ("train",),
    "val": ("train", "dev", "val"),
    "full": ("train", "dev", "val", "test"),
}
assert set(FIT_OF_SPLIT) == set(SPLITS)
