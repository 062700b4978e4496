"""Checks of config values; a message names the key, what was expected and what came."""

from __future__ import annotations

from recsys_spark.contracts.errors import ConfigError


def require(condition: bool, key: str, expected: str, value: object) -> None:
    """Raise ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(f"{key} must be {expected}, got {value!r}")


def one_of(value: str, allowed: tuple[str, ...], key: str) -> None:
    """Raise ConfigError unless the value is one of those allowed."""
    require(value in allowed, key, "one of " + " | ".join(allowed), value)
