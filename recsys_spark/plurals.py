"""Numbers of things, and of bytes, in words."""

from __future__ import annotations

_UNITS = (("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0))


def counted(count: int, thing: str) -> str:
    """So many of a thing.

    >>> counted(1, "order"), counted(0, "order"), counted(1200, "other customer")
    ('1 order', '0 orders', '1,200 other customers')
    """
    return f"{count:,} {things(count, thing)}"


def things(count: int, thing: str) -> str:
    """What so many of a thing are called, for a number that is written another way.

    >>> things(1, "product"), things(2, "product")
    ('product', 'products')
    """
    return thing if count == 1 else f"{thing}s"


def as_size(number: int) -> str:
    """So many bytes.

    >>> as_size(0), as_size(200), as_size(1536), as_size(3 << 30)
    ('0 B', '0.2 KiB', '1.5 KiB', '3.0 GiB')
    """
    unit, power = next((unit, power) for unit, power in _UNITS if number >= 2**power / 10 or not power)
    return f"{number / 2**power:,.{1 if power else 0}f} {unit}"
