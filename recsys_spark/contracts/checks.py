"""Checks of config values; a message names the key, what was expected and what came."""

from __future__ import annotations

from datetime import datetime, timezone

from recsys_spark.contracts.errors import ConfigError


def require(condition: bool, key: str, expected: str, value: object) -> None:
    """Raise ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(f"{key} must be {expected}, got {value!r}")


def utc_moment(date: str, key: str) -> datetime:
    """An ISO date or time in UTC, where a date without a zone lies. Raises ConfigError for other texts."""
    try:
        parsed = datetime.fromisoformat(date)
    except ValueError:
        raise ConfigError(f"{key} must be an ISO date or time, got '{date}'") from None
    return (parsed.astimezone(timezone.utc) if parsed.tzinfo else parsed).replace(tzinfo=None)


def one_of(value: str, allowed: tuple[str, ...], key: str) -> None:
    """Raise ConfigError unless the value is one of those allowed."""
    require(value in allowed, key, "one of " + " | ".join(allowed), value)
