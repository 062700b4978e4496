"""Asks a server at a fixed mean rate, whether or not it keeps up: python -m benchmarks.serve_load ADDRESS < plan.json

Requests arrive by a Poisson process and are sent when their time has come (open loop), each on a free connection or a
new one. Latency counts from that time on, so what waits behind a slow answer counts in full. The plan holds `rate` (a
second), `seconds`, `warm_up` (seconds that do not count), `seed`, and `requests`: [kind, method, path, body] each.
Prints {kind: [milliseconds]} and `failed`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

import numpy as np

_FAILED_MS = 60_000.0  # what a request counts that had no answer, or another than 200
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """Connections that are kept open, as many as requests overlap."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._free: list[Connection] = []

    async def ask(self, method: str, path: str, body: str) -> int:
        """The status; the whole answer has come by then."""
        reader, writer = await self._connection()
        content = body.encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        status = int((await reader.readline()).split()[1])
        length = 0
        while (line := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        await reader.readexactly(length)
        self._free.append((reader, writer))
        return status

    async def _connection(self) -> Connection:
        """A free one that the server has not closed meanwhile, or a new one."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)


async def load(address: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each kind of request, and how many failed."""
    rng, client = np.random.default_rng(plan["seed"]), Client(address)
    total = plan["warm_up"] + plan["seconds"]
    arrivals = np.cumsum(rng.exponential(1 / plan["rate"], int(total * plan["rate"] * 2)))
    arrivals = arrivals[arrivals < total]
    chosen = rng.integers(0, len(plan["requests"]), len(arrivals))
    found: dict[str, list[float]] = defaultdict(list)
    failed = 0
    started = time.perf_counter()

    async def one(arrival: float, kind: str, *request: str) -> None:
        nonlocal failed
        try:
            status = await client.ask(*request)
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError):
            status = 0
        if status != 200:
            failed += 1
        if arrival >= plan["warm_up"]:
            took = 1000 * (time.perf_counter() - started - arrival)
            found[kind].append(took if status == 200 else _FAILED_MS)

    tasks = []
    for arrival, number in zip(arrivals.tolist(), chosen.tolist(), strict=True):
        await asyncio.sleep(max(arrival - (time.perf_counter() - started), 0))
        tasks.append(asyncio.create_task(one(arrival, *plan["requests"][number])))
    await asyncio.gather(*tasks)
    return {"latencies": dict(found), "failed": failed}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], json.load(sys.stdin)))))
