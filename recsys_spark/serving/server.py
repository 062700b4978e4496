"""Runs the app under uvicorn: its signals, the look for new runs, and an end that lets requests finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SO_REUSEADDR, SOL_SOCKET, TCP_NODELAY
from socket import socket as Socket

import uvicorn
from fastapi import FastAPI

from recsys_spark.contracts.errors import ConfigError
from recsys_spark.serving.app import create_app
from recsys_spark.serving.bundle_reloader import BundleReloader
from recsys_spark.serving.request_limiter import RequestLimiter

TOKEN_VARIABLE = "RECSYS_RELOAD_TOKEN"
_GRACE_SECONDS = 10
log = logging.getLogger("recsys")


class _Server(uvicorn.Server):
    """Stops at SIGTERM and SIGINT when requests have ended, and then returns, so that the exit code is 0."""

    def __init__(self, settings: uvicorn.Config, reloader: BundleReloader, stop: Callable[[], None]) -> None:
        super().__init__(settings)
        self._reloader, self._stop = reloader, stop

    async def startup(self, sockets: list[Socket] | None = None) -> None:
        await super().startup(sockets)
        for socket in sockets or []:
            address = "http://{}:{}".format(*socket.getsockname()[:2])
            log.info("serve: %s answers from run %s", address, self._reloader.held.card.run)

    async def shutdown(self, sockets: list[Socket] | None = None) -> None:
        try:
            await super().shutdown(sockets)
        finally:
            self._stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def bound_socket(host: str, port: int) -> Socket:
    """A socket of the address, which nobody can connect to yet. Raises ConfigError for an address that is not free."""
    bound = Socket(AF_INET6 if ":" in host else AF_INET)
    bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    # asyncio leaves Nagle's algorithm on where a socket does not say that it speaks TCP, as this one: a body would wait
    # until the client acknowledges the head, 40 ms.
    bound.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        told = f"serve.host:port {host}:{port} cannot be had: {error.strerror or error}"
        raise ConfigError(f"{told}; name a free one by serve.port") from None
    return bound


def run_server(reloader: BundleReloader, stop: Callable[[], None], bound: Socket) -> None:
    """Answer until told to end. stop: ends a reload, for which the end would wait, and whoever answers. bound: where
    requests come in.
    """
    serve = reloader.served.config.serve
    limiter = RequestLimiter(serve.processes, serve.max_waiting, serve.timeout_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, told.set)
        watch = loop.create_task(_watch(reloader, serve.watch_seconds, told))
        yield
        watch.cancel()
        limiter.close()

    app = create_app(reloader, limiter, os.environ.get(TOKEN_VARIABLE) or None, lifespan)
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ids of customers stay out of logs
        server_header=False,
        proxy_headers=False,  # a client could else say that it is this machine
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        limit_concurrency=2 * (serve.processes + serve.max_waiting) + 100,  # connections; idle ones count
    )
    _Server(settings, reloader, stop).run([bound])


async def _watch(reloader: BundleReloader, seconds: float, told: asyncio.Event) -> None:
    """Look for a new run every so often, and when told by SIGHUP."""
    while True:
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(told.wait(), seconds or None)
        told.clear()
        await asyncio.get_running_loop().run_in_executor(None, reloader.refresh)
