"""What goes in and out as JSON, with the descriptions that OpenAPI shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.serving.bundle import BundleCard

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MAX_ID = 200  # characters of a customer id or stock code
Protocol = Literal["all_items", "first_purchase"]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
Quantity = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Line(BaseModel):
    """A product of a basket."""

    model_config = ConfigDict(extra="forbid")

    stock_code: Id = Field(description="product code; case and outer white space do not count", examples=["84029G"])
    quantity: Quantity = Field(1.0, description="units, above 0")


class Basket(BaseModel):
    """What a new customer just bought, or is about to buy, and how the list is to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"items": ["84029G", {"stock_code": "22423", "quantity": 3}], "k": 5}},
    )

    items: list[Line | Id] = Field(min_length=1, description="product codes, or objects with a quantity")
    k: int | None = Field(None, ge=1, le=LIST_LENGTH, description="products wanted; null: recommend.top_n")
    protocol: Protocol = Field("all_items", description="`first_purchase` lists nothing that is in the basket")
    share_new: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of products that are not in the basket; null: recommend.share_new; with `all_items` alone",
    )


class Run(BaseModel):
    """The run that an answer comes from; all of it from this one."""

    id: str = Field(description="name of the run", examples=["20260105T030000Z"])
    digest: str = Field(description="of all that the answer is made from", examples=["1f0c9a7be2d34a55"])
    fit: str = Field(description="what the models know: `full` all data", examples=["full"])
    moment: str = Field(
        description="UTC time that is recommended for: just after the last event",
        examples=["2011-12-09T12:50:00.000001Z"],
    )


class Source(BaseModel):
    """A source that proposed a product, and its rank there."""

    name: str = Field(examples=["own"])
    rank: int = Field(ge=1, examples=[3])


class Product(BaseModel):
    """One product of a list."""

    rank: int = Field(ge=1, description="from 1, best first")
    stock_code: str = Field(examples=["84029G"])
    description: str | None = Field(description="its text in the catalogue", examples=["KNITTED UNION FLAG"])
    score: float = Field(description="of the model that ranked it; the order of the list is `rank`")
    reason: str = Field(description="why, in words", examples=["bought 7 times, about every 30 days, last 12 days ago"])
    reason_kind: Literal["repeat", "bought_together", "similar", "popular_in_category", "popular"] = Field(
        description="what the reason is about"
    )
    reason_facts: dict[str, str | int | float] = Field(
        description="what the reason rests on, by the names of docs/recommendations.md; only what is known",
        examples=[{"times_bought": 7, "days_ago": 12, "gap_days": 30.2}],
    )
    model: str = Field(description="what ranked it", examples=["two_stage"])
    sources: list[Source] = Field(description="what proposed it, best first; empty behind the model's own list")


class Products(BaseModel):
    """A list of products, best first."""

    run: Run
    fallback: str | None = Field(
        description="null, or `popularity`: who or what was asked for is not known, and this is what everyone buys"
    )
    message: str | None = Field(None, description="what the caller should know of this answer")
    items: list[Product]


class CustomerProducts(Products):
    """Recommendations of a customer."""

    customer_id: str


class BasketProducts(Products):
    """Recommendations for a basket."""

    unknown: list[str] = Field(description="codes of the basket that no product has; they were left out")


class SimilarProducts(Products):
    """Products that go to the same customers."""

    stock_code: str


class Health(BaseModel):
    """Whether the server answers, and what from."""

    ready: bool = Field(description="whether a process can answer")
    processes: int = Field(description="processes that can answer; fewer than serve.processes while some are replaced")
    run: Run
    models: dict[str, str] = Field(description="the model of each protocol")
    counts: dict[str, int] = Field(description="customers, items, events, and offers: candidates of known customers")
    uptime_seconds: float
    requests_waiting: int
    reloads: int
    reloading: bool
    last_error: str | None = Field(description="why the last reload failed, else null")


class Told(BaseModel):
    """Whether a reload was begun."""

    status: Literal["started", "already running"]


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="a word that programs can compare", examples=["unknown_stock_code"])
    detail: str = Field(description="a sentence", examples=["no product has the code 'XYZ'"])
    where: list[str] = Field(default_factory=list, description="the parts of the request that are wrong")


class Refused(Exception):  # noqa: N818 (an answer, not a fault)
    """A problem as the caller gets it."""

    def __init__(self, status: int, error: str, detail: str, where: Sequence[str] = ()) -> None:
        super().__init__(status, error, detail, where)  # with which it travels between processes
        self.status, self.problem = status, Problem(error=error, detail=detail, where=list(where))


def run_of(card: BundleCard) -> Run:
    """The run as every answer names it."""
    moment = (_EPOCH + timedelta(microseconds=card.moment)).isoformat().replace("+00:00", "Z")
    return Run(id=card.run, digest=card.digest, fit=card.fit, moment=moment)
