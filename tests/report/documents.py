"""Small documents of a run, with every number of its own."""

from __future__ import annotations

from itertools import count
from typing import Any

from recsys_spark.contracts.columns import K_VALUES

MODELS = ("popularity", "two_tower_all", "two_stage", "next_in_catalogue")
KINDS = {"per_positive": ("recall", "ndcg", "mrr"), "money": ("recall", "ndcg"), "per_basket": ("recall", "ndcg")}
CAUSES = ("item_cold", "not_retrieved", "lost_by_index", "ranked_below_k")
SEGMENTS = {
    "activity": ("high", "middle", "low", "cold"),
    "customer": ("warm", "cold"),
    "purchase": ("first", "repeat"),
    "category": ("CUPS", "PLATES/BOWLS", "أكواب", "JUGS", "(other)"),
}


def evaluation() -> dict[str, Any]:
    """evaluation.json of four models, whose numbers all differ; two_stage is best, popularity the best single one."""
    numbers = (n / 100_000 for n in count(1_001))
    return {
        "format": 1,
        "replicates": 100,
        "best": dict.fromkeys(("all_items", "first_purchase"), "two_stage"),
        "best_single": dict.fromkeys(("all_items", "first_purchase"), "popularity"),
        "split": {split: _split(numbers) for split in ("val", "test")},
        "warnings": [],
    }


def _split(numbers: Any) -> dict[str, Any]:
    shares = (
        "queries_of_cold_customers",
        "positives_of_cold_customers",
        "positives_with_cold_items",
        "repeat_positives",
    )
    return {
        "shares": {name: next(numbers) for name in shares},
        "first_orders_without_query": 2,
        "eligible_items": 34,
        "protocols": {name: _protocol(numbers, name) for name in ("all_items", "first_purchase", "masked_seen")},
    }


def _protocol(numbers: Any, protocol: str) -> dict[str, Any]:
    return {
        "num_positives": 1000,
        "num_queries": 77,
        "reference": "popularity",
        "models": {model: _model(numbers, model, protocol) for model in MODELS},
        "segments": {segment: {value: _segment(numbers) for value in values} for segment, values in SEGMENTS.items()},
    }


def _model(numbers: Any, model: str, protocol: str) -> dict[str, Any]:
    labels = {section: [f"{kind}@{k}" for kind in kinds for k in K_VALUES] for section, kinds in KINDS.items()}
    if protocol != "masked_seen":
        labels["lists"] = ["novelty@5", "novelty@10", "novelty@20", "diversity@20"]
    means: dict[str, Any] = {section: {label: next(numbers) for label in found} for section, found in labels.items()}
    means["intervals"] = {section: {label: _interval(numbers) for label in found} for section, found in labels.items()}
    if "lists" in means:
        means["lists"].update({f"coverage@{k}": next(numbers) for k in (5, 10, 20)})
    difference = {
        section: {label: _difference(numbers) for label in found}
        for section, found in labels.items()
        if section != "lists"
    }
    means["difference"] = {} if model == "popularity" else difference
    causes = {cause: 100 + number for number, cause in enumerate(CAUSES)}
    end = {key: next(numbers) for key in ("retrieved", "recall_within", "recall")}
    means["waterfall"] = {"hits": 1000 - sum(causes.values()), "causes": causes, "end_to_end": end}
    return means


def _interval(numbers: Any) -> list[float]:
    return [next(numbers), next(numbers)]


def _difference(numbers: Any) -> dict[str, Any]:
    told = {
        "estimate": next(numbers),
        "interval": _interval(numbers),
        "p_value": next(numbers),
        "p_holm": next(numbers),
    }
    return {**told, "interval_holm": _interval(numbers)}


def _segment(numbers: Any) -> dict[str, Any]:
    labels = ("recall@20", "ndcg@20", "mrr@20")
    models = {}
    for model in MODELS:
        intervals = {label: _interval(numbers) for label in labels}
        models[model] = {**{label: next(numbers) for label in labels}, "intervals": intervals}
    return {"num_positives": 250, "models": models}


CLEANING: dict[str, Any] = {
    "funnel": {
        "lines_read": 1010,
        "lines_kept": 1003,
        "lines_rejected": 7,
        "rules": [
            {"rule": "return", "applied": True, "lines": 7, "units": -9.0, "money": -33.25},
            {"rule": "cancelled", "applied": False, "lines": 0, "units": 0.0, "money": 0.0},
            {"rule": "missing_customer", "applied": True, "lines": 0, "units": 0.0, "money": 0.0},
        ],
        "kept": {
            "lines": 1003,
            "units": 4001.0,
            "money": 12345.67,
            "interactions": 998,
            "winsorised": 3,
            "customers": 12,
            "items": 34,
            "first_date": "2011-01-01",
            "last_date": "2011-03-01",
        },
    },
    "coverage_saw_all_data": False,
    "cancellations_saw_all_data": False,
}
CUTOFFS = {
    "fold_end": "2011-01-20T00:00:00.000000",
    "train_end": "2011-02-01T00:00:00.000000",
    "val_end": "2011-02-14T12:00:00.000000",
}
STEPS = [
    {"low": 1.0, "high": 2.0, "members": 3, "lines": 3, "money": 5.0},
    {"low": 2.0, "high": 5.0, "members": 9, "lines": 31, "money": 50.0},
]
DATA: dict[str, Any] = {
    "first": "2011-01-01T09:00:00",
    "last": "2011-03-01T10:00:00",
    "period": "week",
    "sales": [
        {"start": "2010-12-27", "lines": 500, "money": 6000.0, "customers": 12},
        {"start": "2011-02-28", "lines": 503, "money": 6345.67, "customers": 11},
    ],
    **dict.fromkeys(("items_by_lines", "customers_by_orders", "customers_by_money", "customers_by_items"), STEPS),
    "categories": [{"category": "أكواب", "items": 3, "lines": 9, "money": 12.5}],
    "examples": {
        "return": [
            {
                "rule": "return",
                "place": 1,
                "invoice_id": "C9",
                "stock_code": "10",
                "description": "مصباح",
                "customer_id": None,
                "invoice_date": "2011-02-01",
                "quantity": "-1",
                "line_amount": "-5",
                "file": "shop.xlsx",
                "source_sheet": "Sheet1",
                "source_row": 12,
            }
        ]
    },
}
SOURCES = {
    "queries": 77,
    "positives": 1000,
    "proposed": 5000,
    "found": 300,
    "sources": {
        "own": {"proposed": 3000, "found": 200, "alone": 90},
        "two_tower_first": {"proposed": 0, "found": 0, "alone": 0},
        "ease": {"proposed": 2000, "found": 100, "alone": 10},
    },
}
_CURVE = [{"epoch": 1.0, "loss": 8.5, "recall@20": 0.125}, {"epoch": 2.0, "loss": 8.25, "recall@20": 0.13}]
_FIT = {
    "curve": _CURVE,
    "best_epoch": 2,
    "seconds": 3.5,
    "share_waiting": 0.02,
    "examples": 1000,
    "steps_per_epoch": 20,
}
TOWERS = {
    "towers": {"all": {"trained": {"early": _FIT, "val": {**_FIT, "index": {"recall_at_100": 0.995}}}, "ranked": {}}}
}
RANKER = {
    "trained": {"train": {"members": [_FIT], "dev": {"recall@20": 0.13}}},
    "split": {},
    "importance": [
        {"feature": "dot_uv", "protocol": "all_items", "loss": 0.031, "deviation": 0.002},
        {"feature": "pop", "protocol": "all_items", "loss": -0.02, "deviation": 0.001},
        {"feature": "dot_uv", "protocol": "first_purchase", "loss": 0.5, "deviation": None},
    ],
    "calibration": {
        "all_items": {
            "slope": 0.9,
            "intercept": -0.25,
            "expected_error": 0.015,
            "table": [
                {"candidates": 900, "probability": 0.1, "bought": 0.12},
                {"candidates": 80, "probability": 0.5, "bought": 0.4},
            ],
        }
    },
}
_LOST = {"value": 0.17, "difference": -0.011, "interval": [-0.013, -0.009]}
_HELD = {protocol: {"recall@20": _LOST, "ndcg@20": _LOST} for protocol in ("all_items", "first_purchase")}
ABLATIONS = {"split": {split: {"whole": _HELD, "without_own": _HELD} for split in ("val", "test")}}
SAMPLE: dict[str, Any] = {
    "query_id": 1,
    "customer_id": "00042",
    "day": "2011-02-20",
    "hist_len": 3,
    "history": [{"stock_code": "A", "description": "lamp", "times_bought": 2, "days_ago": 5}],
    "listed": [
        {
            "place": 1,
            "stock_code": "A",
            "description": "lamp",
            "reason": "bought 2 times",
            "sources": "own 1",
            "was_bought": True,
        },
        {"place": 2, "stock_code": "B", "description": None, "reason": "popular", "sources": None, "was_bought": False},
    ],
    "bought": [
        {"stock_code": "A", "description": "lamp", "line_amount": 2.5, "is_repeat": True, "rank": 1},
        {"stock_code": "C", "description": "مصباح", "line_amount": 1.5, "is_repeat": False, "rank": None},
    ],
    "now": [],
    "basket_items": 5,
    "basket_money": 12.25,
    "found": 1,
}
RUN = {
    "stages": [
        {
            "stage": "clean",
            "seconds": 4.2,
            "created": "2011-03-02T10:00:00+00:00",
            "artifacts": 4,
            "rows": 1010,
            "bytes": 123456,
            "code_version": "0.1.0",
            "code_digest": "abc",
            "config_digest": "def",
            "seed": 1,
        }
    ],
    "seconds": 4.2,
    "libraries": {"python": "3.11"},
    "sources": {"shop.xlsx": "0123"},
    "config": {"clean": {"rules": {"return": True}}},
    "config_digest": "def",
    "seeds": [1],
    "code_versions": ["0.1.0"],
}
