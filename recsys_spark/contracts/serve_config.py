"""The server: where it listens, how much it takes on, and where its bundles lie."""

from __future__ import annotations

from dataclasses import dataclass

from recsys_spark.contracts.checks import require

BUNDLES = "serving"  # folder of bundles below a run


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """folder: local; where it is None, `serving` below the run. processes: how many answer. Beyond max_waiting requests
    the answer is 503.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    folder: str | None = None
    keep_bundles: int = 3
    processes: int = 2
    max_waiting: int = 64
    timeout_seconds: float = 5.0
    max_body_bytes: int = 65_536
    max_basket_items: int = 500
    watch_seconds: float = 10.0

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65_535, "serve.port", "0 (any free one) to 65535", self.port)
        for key in ("processes", "max_body_bytes", "max_basket_items"):
            require(getattr(self, key) >= 1, f"serve.{key}", "at least 1", getattr(self, key))
        require(self.keep_bundles >= 2, "serve.keep_bundles", "at least 2", self.keep_bundles)
        for key in ("max_waiting", "watch_seconds"):
            require(getattr(self, key) >= 0, f"serve.{key}", "0 or more", getattr(self, key))
        require(self.timeout_seconds > 0, "serve.timeout_seconds", "above 0", self.timeout_seconds)
