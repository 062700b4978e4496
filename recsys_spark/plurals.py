"""Numbers of things in words."""

from __future__ import annotations


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
