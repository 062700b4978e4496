"""One spelling of ids, codes and cells: without what nobody sees in them, and numbers as the digits that a cell shows.

Spark's twins of these functions are in `cleaning/text.py`.
"""

from __future__ import annotations

import re
import unicodedata

# Marks that tell a program how Arabic lies beside Latin, and two spaces without width. Copied texts and exports of
# Arabic systems hold them; they mean nothing in a value, wherever they stand.
MARKS = "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
LINE_BREAKS = "\n\x0b\f\r\u2028\u2029"
SPACES = (
    " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000" + LINE_BREAKS
)
WHOLE_NUMBER = r"[0-9]+\.0+"

_IS_WHOLE_NUMBER = re.compile(WHOLE_NUMBER)
_WITHOUT_MARKS = dict.fromkeys(map(ord, MARKS))
_SHOWN = {**_WITHOUT_MARKS, **dict.fromkeys(map(ord, SPACES), " ")}


def bare(text: str) -> str:
    """A text without marks, and without blanks around it.

    >>> bare("\u200f 17850\u00a0"), bare("A 1")
    ('17850', 'A 1')
    """
    return text.translate(_WITHOUT_MARKS).strip(SPACES)


def whole_number(text: str) -> str:
    """A number cell as the digits that it shows; other texts as they are.

    >>> whole_number("71053.0"), whole_number("00042"), whole_number("A-7.0"), whole_number("7.5")
    ('71053', '00042', 'A-7.0', '7.5')
    """
    return text.split(".")[0] if _IS_WHOLE_NUMBER.fullmatch(text) else text


def tidy_code(text: str) -> str:
    """A product code as cleaning spells it: NFKC, single spaces, upper case, a number cell as its digits.

    >>> tidy_code("  ab  1 "), tidy_code("71053.0\u200e")
    ('AB 1', '71053')
    """
    visible = unicodedata.normalize("NFKC", text).translate(_SHOWN)
    return whole_number(" ".join(filter(None, visible.split(" "))).upper())
