"""Product codes that come from outside, in the spelling that cleaning gives them."""

from __future__ import annotations

import unicodedata


def tidy_code(text: str) -> str:
    """As `cleaning.text` does: NFKC, white space collapsed and trimmed, upper case.

    >>> tidy_code("  ab  1 ")
    'AB 1'
    """
    return " ".join(unicodedata.normalize("NFKC", text).split()).upper()
