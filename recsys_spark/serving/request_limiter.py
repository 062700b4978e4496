"""Bounds on requests: how many are answered at a time, how many may wait, how long each takes, how large bodies are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Answer = TypeVar("Answer")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class BusyError(Exception):
    """As many requests wait as may."""


class LateError(Exception):
    """An answer took too long."""


class RequestLimiter:
    """Threads, each waiting for one answer at a time. A request that gave up counts until its thread is free, so the
    bound holds.
    """

    def __init__(self, threads: int, max_waiting: int, timeout_seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._most, self._timeout = threads + max_waiting, timeout_seconds
        self.num_taken = 0

    async def answer(self, work: Callable[[], Answer]) -> Answer:
        """Raises BusyError at once, LateError when the time is over."""
        if self.num_taken >= self._most:
            raise BusyError
        loop = asyncio.get_running_loop()
        self.num_taken += 1
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: _soon(loop, self._give_back))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout)
        except (asyncio.TimeoutError, TimeoutError):
            raise LateError from None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _give_back(self) -> None:
        self.num_taken -= 1


def _soon(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(work)


class BoundedBody:
    """Reads a request's body before the app sees it: 413 for one that is too large, 408 for one that does not come."""

    def __init__(self, app: App, max_bytes: int, timeout_seconds: float) -> None:
        self._app, self._most, self._timeout = app, max_bytes, timeout_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > self._most:
            await _refuse(send, 413, "body_too_large", f"a request may have {self._most} bytes")
            return
        try:
            body = await asyncio.wait_for(self._body(receive), self._timeout)
        except (asyncio.TimeoutError, TimeoutError):
            await _refuse(send, 408, "body_too_slow", f"the body did not come within {self._timeout:g} seconds")
            return
        if body is None:
            await _refuse(send, 413, "body_too_large", f"a request may have {self._most} bytes")
            return
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replayed, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """None for one that is too large."""
        parts, size = [], 0
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)


async def _refuse(send: Send, status: int, error: str, detail: str) -> None:
    body = json.dumps({"error": error, "detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
