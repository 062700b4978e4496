"""The HTTP interface: routes, what they refuse, and how faults are told."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from recsys_spark.code_version import __version__
from recsys_spark.contracts.columns import LIST_LENGTH
from recsys_spark.serving import documents as doc
from recsys_spark.serving.bundle_reloader import BundleReloader
from recsys_spark.serving.request_limiter import BoundedBody, BusyError, LateError, RequestLimiter

TOKEN_HEADER = "X-Reload-Token"
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
Asked = tuple[int | None, str, float | None]  # k, protocol, share_new
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def wish_of(
    k: Annotated[int | None, Query(ge=1, le=LIST_LENGTH, description="products wanted; recommend.top_n")] = None,
    protocol: Annotated[doc.Protocol, Query(description="`first_purchase`: nothing bought before")] = "all_items",
    share_new: Annotated[float | None, Query(ge=0, le=1, description="share never bought; recommend.share_new")] = None,
) -> Asked:
    """How a list is to be."""
    return k, protocol, share_new


def create_app(
    reloader: BundleReloader, limiter: RequestLimiter, token: str | None = None, lifespan: Lifespan | None = None
) -> FastAPI:
    """token: what POST /reload must bring; without one it is for callers on this machine alone."""
    serve = reloader.served.config.serve
    told: dict[str, Any] = {"title": "B2B recommender", "version": __version__, "description": _ABOUT}
    # No pages: those that FastAPI has load scripts from elsewhere.
    app = FastAPI(**told, docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_answers(app, reloader, limiter)
    _add_upkeep(app, reloader, limiter, token)
    _tell_faults(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(serve.allowed_hosts), www_redirect=False)
    app.add_middleware(BoundedBody, max_bytes=serve.max_body_bytes, timeout_seconds=serve.timeout_seconds)
    return app


def _add_answers(app: FastAPI, reloader: BundleReloader, limiter: RequestLimiter) -> None:
    """The routes that answer, each from the bundle that is held when it begins."""

    async def answered(kind: str, *asked: Any) -> Response:
        held = reloader.held
        text = await limiter.answer(lambda: held.reply(kind, *asked))
        return Response(text, media_type="application/json")

    @app.get("/recommend/{customer_id:path}", response_model=doc.CustomerProducts, responses=_PROBLEMS | _NOT_FOUND)
    async def recommend(
        customer_id: Id,
        asked: Annotated[Asked, Depends(wish_of)],
        fallback: Annotated[bool, Query(description="false: 404 for a customer that is not known")] = True,
    ) -> Response:
        """Recommendations of a customer: the same list as the batch run's."""
        return await answered("customer", customer_id, asked, fallback)

    @app.post("/recommend", response_model=doc.BasketProducts, responses=_PROBLEMS)
    async def recommend_basket(basket: doc.Basket) -> Response:
        """Recommendations for what someone new just bought."""
        return await answered("basket", basket)

    @app.get("/similar/{stock_code:path}", response_model=doc.SimilarProducts, responses=_PROBLEMS | _NOT_FOUND)
    async def similar(
        stock_code: Id, k: Annotated[int, Query(ge=1, le=LIST_LENGTH, description="products wanted")] = 10
    ) -> Response:
        """Products that go to the same customers as this one."""
        return await answered("similar", stock_code, k)


def _add_upkeep(app: FastAPI, reloader: BundleReloader, limiter: RequestLimiter, token: str | None) -> None:
    """The routes for those who run the server."""

    @app.get("/health", response_model=doc.Health)
    async def health() -> doc.Health:
        """Whether the server answers, and what from."""
        card, processes = reloader.held.card, reloader.held.num_processes
        return doc.Health(
            ready=processes > 0,
            processes=processes,
            run=doc.run_of(card),
            models=card.models,
            counts={name: getattr(card, f"num_{name}") for name in ("customers", "items", "events", "offers")},
            uptime_seconds=round(time.monotonic() - reloader.started, 3),
            requests_waiting=limiter.num_taken,
            reloads=reloader.num_reloads,
            reloading=reloader.is_reloading,
            last_error=reloader.last_error,
        )

    @app.post("/reload", status_code=202, response_model=doc.Told, responses={403: {"model": doc.Problem}})
    async def reload(request: Request) -> doc.Told:
        """Serve the newest run; answers at once, and /health tells when that is done."""
        _require_allowed(request, token)
        if reloader.is_reloading:
            return doc.Told(status="already running")
        app.state.reload = asyncio.get_running_loop().run_in_executor(None, reloader.refresh)
        return doc.Told(status="started")


def _require_allowed(request: Request, token: str | None) -> None:
    if token:
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), token.encode()):
            raise doc.Refused(403, "forbidden", f"the header {TOKEN_HEADER} does not bring the server's token")
    elif request.client is None or request.client.host not in _LOOPBACK:
        raise doc.Refused(403, "forbidden", "without a token, a reload can be asked for from this machine alone")


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
        doc.Refused: refused,
        RequestValidationError: invalid,
        StarletteHTTPException: http,
        BusyError: busy,
        LateError: late,
        Exception: fault,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
