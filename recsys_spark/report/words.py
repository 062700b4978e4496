"""What models, rules, protocols and metrics are called in the report, and what they mean in plain words."""

from __future__ import annotations

from recsys_spark.contracts.config import SENTINEL
from recsys_spark.contracts.ranker_config import TWO_STAGE
from recsys_spark.evaluation.protocols import ALL_ITEMS, FIRST_PURCHASE, MASKED_SEEN
from recsys_spark.evaluation.ranking_metrics import MONEY, PER_BASKET, PER_POSITIVE

FAMILIES = {
    "stages": "both stages",
    "tower": "two-tower model",
    "baseline": "baseline",
    "sentinel": "sentinel",
}
PROTOCOLS = {
    ALL_ITEMS: ("All products", "Everything that a customer bought counts, repeats too. Nothing is hidden."),
    FIRST_PURCHASE: (
        "First purchases",
        "Only products that the customer had never bought before count, and only such products may be listed.",
    ),
    MASKED_SEEN: (
        "Repeats given away",
        "Everything bought before is hidden except the right answer itself. This gives every repeat away, so it is "
        "optimistic: read it beside published work, never choose by it.",
    ),
}
SPLITS = {"test": "test", "val": "validation", "train": "training"}
SECTIONS = {
    PER_POSITIVE: "per product bought",
    PER_BASKET: "per basket",
    MONEY: "by money",
}
KINDS = {
    "recall": "Recall",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "coverage": "Coverage",
    "novelty": "Novelty",
    "diversity": "Diversity",
}
CAUSES = {
    "item_cold": "not sold before the cutoff",
    "not_retrieved": "not among the candidates",
    "lost_by_index": "lost by the search index",
    "ranked_below_k": "ranked below place 20",
}
SEGMENTS = {
    "purchase": ("Repeat or first purchase", {"first": "first purchase", "repeat": "repeat"}),
    "customer": ("Known or new customer", {"warm": "known customer", "cold": "new customer"}),
    "activity": (
        "Customer activity",
        {"high": "most active third", "middle": "middle third", "low": "least active third", "cold": "new customer"},
    ),
    "category": ("Category", {}),
}
RULES = {
    "orphan_customer": "customer is not in the customer table",
    "orphan_product": "product is not in the product table",
    "totals_row": "line is a total, not a purchase",
    "ragged_line": "line has more fields than there are columns",
    "unparsed_date": "date cannot be read",
    "future_date": "date is later than there can be",
    "missing_customer": "no customer",
    "missing_stock_code": "no product code",
    "missing_quantity": "no quantity",
    "missing_amount": "no amount",
    "return": "return or cancellation",
    "non_positive_quantity": "quantity is zero or below",
    "non_positive_price": "price is zero or below",
    "exact_duplicate": "same line once more",
    "cancelled": "purchase that a later return reverses",
    "non_product": "postage, fee or other charge",
    "outlier": "quantity or price out of all bounds",
    "rare_item": "product with too few customers",
    "rare_customer": "customer with too few products",
}
SOURCES = {
    "own": "bought before, by frequency",
    "due": "bought before, due again",
    "item_knn": "goes with what the customer buys (ItemKNN)",
    "user_knn": "bought by similar customers (UserKNN)",
    "ease": "goes with what the customer buys (EASE)",
    "last_basket": "goes with the last order",
    "two_tower_all": "two-tower model, all purchases",
    "two_tower_first": "two-tower model, first purchases",
    "two_tower_plain": "two-tower model, plain form",
    "rolling_popularity": "sells well these days",
    "category_popularity": "sells well in the customer's categories",
}
_MODELS = {
    TWO_STAGE: "Two stages",
    SENTINEL: "Next in catalogue",
    "item_knn": "ItemKNN",
    "user_knn": "UserKNN",
    "tifu_knn": "TIFU-KNN",
    "ease": "EASE",
    "nmf": "NMF",
}


def model_name(model: str) -> str:
    """A model as a reader sees it.

    >>> model_name("two_tower_all"), model_name("personal_frequency"), model_name("two_stage")
    ('Two-tower all', 'Personal frequency', 'Two stages')
    """
    if model.startswith("two_tower_"):
        return f"Two-tower {model.removeprefix('two_tower_').replace('_', ' ')}"
    return _MODELS.get(model, model.replace("_", " ").capitalize())


def family_of(model: str) -> str:
    """The key of FAMILIES that a model belongs to.

    >>> [family_of(model) for model in ("two_stage", "two_tower_first", "ease", "next_in_catalogue")]
    ['stages', 'tower', 'baseline', 'sentinel']
    """
    if model == TWO_STAGE:
        return "stages"
    if model == SENTINEL:
        return "sentinel"
    return "tower" if model.startswith("two_tower_") else "baseline"


def metric_name(label: str) -> str:
    """A metric as a reader sees it.

    >>> metric_name("recall@20"), metric_name("ndcg@5")
    ('Recall@20', 'NDCG@5')
    """
    kind, _, k = label.partition("@")
    return f"{KINDS.get(kind, kind.capitalize())}@{k}" if k else KINDS.get(kind, kind)
