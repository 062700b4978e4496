"""The HTTP interface over a holder: routes, what they refuse, and how faults are told."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from recsys_spark.code_version import __version__
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.serving import documents as doc
from recsys_spark.serving.answers import Listed, Wish, basket_of, for_basket, for_customer, most_popular, similar_to
from recsys_spark.serving.desk import BoundedBody, BusyError, Desk, LateError
from recsys_spark.serving.holder import Holder
from recsys_spark.serving.state import State
from recsys_spark.serving.text import tidy_code

TOKEN_HEADER = "X-Reload-Token"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LOOPBACK = ("127.0.0.1", "::1")
_ABOUT = """Recommendations for business customers from a finished run, as its batch lists have them.

Every answer names the run it comes from. An id that is not known is told so: a customer gets what everyone buys, with
`fallback` set, unless `fallback=false` asks for a 404."""
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": doc.Problem, "description": "The request breaks a bound; `where` says which part."},
    503: {"model": doc.Problem, "description": "Too many requests wait; try again after a second."},
    504: {"model": doc.Problem, "description": "The answer took too long."},
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": doc.Problem, "description": "There is no such id."}}

Id = Annotated[str, Path(min_length=1, max_length=doc.MAX_ID)]
K = Annotated[int, Query(ge=1, le=LIST_LENGTH, description="products wanted")]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Refused(Exception):  # noqa: N818 (an answer, not a fault)
    """A problem as the caller gets it."""

    def __init__(self, status: int, error: str, detail: str, where: Sequence[str] = ()) -> None:
        self.status, self.problem = status, doc.Problem(error=error, detail=detail, where=list(where))


def wish_of(
    k: Annotated[int | None, Query(ge=1, le=LIST_LENGTH, description="products wanted; recommend.top_n")] = None,
    protocol: Annotated[doc.Protocol, Query(description="`first_purchase`: nothing bought before")] = "all_items",
    share_new: Annotated[float | None, Query(ge=0, le=1, description="share never bought; recommend.share_new")] = None,
) -> tuple[int | None, str, float | None]:
    """How a list is to be."""
    return k, protocol, share_new


def create_app(holder: Holder, desk: Desk, token: str | None = None, lifespan: Lifespan | None = None) -> FastAPI:
    """token: what POST /reload must bring; without one it is for callers on this machine alone."""
    config = holder.served.config
    recent_days, listed = config.baselines.recent_days, config.recommend
    app = FastAPI(
        title="B2B recommender",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    def wish(k: int | None, protocol: str, share_new: float | None) -> Wish:
        if protocol == "first_purchase":
            if share_new is not None:
                raise Refused(422, "invalid_request", "share_new goes with protocol=all_items alone", ["share_new"])
            return Wish(k or listed.top_n, protocol)
        return Wish(k or listed.top_n, protocol, listed.share_new if share_new is None else share_new)

    @app.get(
        "/recommend/{customer_id:path}", response_model=doc.CustomerProducts, responses={**_PROBLEMS, **_NOT_FOUND}
    )
    async def recommend(
        customer_id: Id,
        asked: Annotated[tuple[int | None, str, float | None], Depends(wish_of)],
        fallback: Annotated[bool, Query(description="false: 404 for a customer that is not known")] = True,
    ) -> Response:
        """Recommendations of a customer: the list that the batch run has for him."""
        state, wanted = holder.state, wish(*asked)
        user = state.customers.find(customer_id)
        if user is None:
            told = f"no customer has the id '{customer_id}' in run {state.card.run}"
            if not fallback:
                raise Refused(404, "unknown_customer", f"{told}; POST /recommend takes a basket of a new one")
            items = await desk.answer(lambda: most_popular(state, wanted.k, recent_days))
            return _sent(
                doc.CustomerProducts(
                    customer_id=customer_id, message=f"{told}; this is what everyone buys", **_body(state, items, True)
                )
            )
        items = await desk.answer(lambda: for_customer(state, user, wanted, recent_days))
        return _sent(doc.CustomerProducts(customer_id=customer_id, **_body(state, items)))

    @app.post("/recommend", response_model=doc.BasketProducts, responses=_PROBLEMS)
    async def recommend_basket(basket: doc.Basket) -> Response:
        """Recommendations for what someone new just bought."""
        state, wanted = holder.state, wish(basket.k, basket.protocol, basket.share_new)
        if len(basket.items) > config.serve.max_basket_items:
            told = f"a basket has at most {config.serve.max_basket_items} lines, got {len(basket.items)}"
            raise Refused(422, "basket_too_large", told, ["body.items"])
        lines = [(one, 1.0) if isinstance(one, str) else (one.stock_code, one.quantity) for one in basket.items]
        known, quantities, unknown = basket_of(state, lines)
        if len(known) == 0:
            items = await desk.answer(lambda: most_popular(state, wanted.k, recent_days))
            told = "no product has one of these codes; this is what everyone buys"
            return _sent(doc.BasketProducts(unknown=unknown, message=told, **_body(state, items, True)))
        items = await desk.answer(lambda: for_basket(state, known, quantities, wanted, recent_days))
        return _sent(doc.BasketProducts(unknown=unknown, **_body(state, items)))

    @app.get("/similar/{stock_code:path}", response_model=doc.SimilarProducts, responses={**_PROBLEMS, **_NOT_FOUND})
    async def similar(stock_code: Id, k: K = 10) -> Response:
        """Products that go to the same customers as this one."""
        state = holder.state
        item = state.items.find(tidy_code(stock_code))
        if item is None:
            raise Refused(404, "unknown_stock_code", f"no product has the code '{stock_code}' in run {state.card.run}")
        items = await desk.answer(lambda: similar_to(state, item, k))
        if items:
            return _sent(doc.SimilarProducts(stock_code=state.items.of(item), **_body(state, items)))
        popular = await desk.answer(lambda: most_popular(state, k, recent_days))
        told = "no model knows what goes with this product; this is what everyone buys"
        return _sent(doc.SimilarProducts(stock_code=state.items.of(item), message=told, **_body(state, popular, True)))

    @app.get("/health", response_model=doc.Health)
    async def health() -> doc.Health:
        """Whether the server answers, and what from."""
        card = holder.state.card
        counts = {name: getattr(card, f"num_{name}") for name in ("customers", "items", "events", "offers")}
        return doc.Health(
            ready=True,
            run=_run(holder.state),
            models=card.models,
            counts=counts,
            uptime_seconds=round(time.monotonic() - holder.started, 3),
            requests_waiting=desk.num_taken,
            reloads=holder.num_reloads,
            reloading=holder.is_reloading,
            last_error=holder.last_error,
        )

    @app.post("/reload", status_code=202, response_model=doc.Told, responses={403: {"model": doc.Problem}})
    async def reload(request: Request) -> doc.Told:
        """Serve the newest run; answers at once, and /health tells when that is done."""
        _require_allowed(request, token)
        if holder.is_reloading:
            return doc.Told(status="already running")
        task = asyncio.get_running_loop().run_in_executor(None, holder.refresh)
        app.state.reload = task  # kept: a task that nothing holds may be collected
        return doc.Told(status="started")

    _tell_faults(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(config.serve.allowed_hosts), www_redirect=False)
    app.add_middleware(BoundedBody, max_bytes=config.serve.max_body_bytes, timeout_seconds=config.serve.timeout_seconds)
    return app


def _require_allowed(request: Request, token: str | None) -> None:
    if token:
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), token.encode()):
            raise Refused(403, "forbidden", f"the header {TOKEN_HEADER} does not bring the server's token")
    elif request.client is None or request.client.host not in _LOOPBACK:
        raise Refused(403, "forbidden", "without a token, a reload can be asked for from this machine alone")


def _body(state: State, items: Sequence[Listed], is_fallback: bool = False) -> dict[str, Any]:
    told = [
        doc.Product(**{**asdict(one), "sources": [doc.Source(name=name, rank=rank) for name, rank in one.sources]})
        for one in items
    ]
    return {"run": _run(state), "fallback": "popularity" if is_fallback else None, "items": told}


def _run(state: State) -> doc.Run:
    moment = (_EPOCH + timedelta(microseconds=state.card.moment)).isoformat().replace("+00:00", "Z")
    return doc.Run(id=state.card.run, digest=state.card.digest, fit=state.card.fit, moment=moment)


def _sent(document: doc.Products) -> Response:
    return Response(document.model_dump_json(), media_type="application/json")


def _problem(status: int, problem: doc.Problem, **headers: str) -> JSONResponse:
    return JSONResponse(problem.model_dump(), status, headers)


def _tell_faults(app: FastAPI) -> None:
    """Every refusal and fault as a Problem, none with what happened inside."""

    async def refused(_: Request, error: Any) -> Response:
        return _problem(error.status, error.problem)

    async def invalid(_: Request, error: Any) -> Response:
        where = [".".join(str(part) for part in each["loc"]) for each in error.errors()]
        said = "; ".join(f"{place}: {each['msg']}" for place, each in zip(where, error.errors(), strict=True))
        return _problem(422, doc.Problem(error="invalid_request", detail=said[:1000], where=where[:20]))

    async def http(_: Request, error: Any) -> Response:
        return _problem(error.status_code, doc.Problem(error="http_error", detail=str(error.detail)))

    async def busy(_: Request, __: Any) -> Response:
        told = doc.Problem(error="busy", detail="as many requests wait as may; try again after a second")
        return _problem(503, told, **{"Retry-After": "1"})

    async def late(_: Request, __: Any) -> Response:
        return _problem(504, doc.Problem(error="too_late", detail="the answer took too long"))

    async def fault(_: Request, __: Any) -> Response:
        return _problem(500, doc.Problem(error="internal", detail="the server's log says what went wrong"))

    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
        Refused: refused,
        RequestValidationError: invalid,
        StarletteHTTPException: http,
        BusyError: busy,
        LateError: late,
        Exception: fault,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
