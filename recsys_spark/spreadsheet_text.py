"""Text that a spreadsheet program would run as a formula, made plain for CSV.

A CSV cell has no type: Excel, LibreOffice and Google Sheets run `=HYPERLINK(...)` or `-2+cmd|...` of a product text
when the file is opened. OWASP (https://owasp.org/www-community/attacks/CSV_Injection) advises a single quote before
such a cell; programs that read the file see it too, so Parquet is the form for them.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

# Signs that begin a formula, also in their full width; what stands before them may be blank or a control character.
_STARTS = r"(?s)^(?:[\p{Cntrl}\uFEFF\p{Zs}]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n]).*"
_NUMBER = r"^ *[+-]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:[eE][+-]?\d+)? *$"

# As RFC 4180 has it and spreadsheets read it. Spark's own default writes \" for a quote, after which a text could end
# its cell and begin another; and it would trim what stands before an equals sign after that was judged.
CSV_OPTIONS = {
    "header": "true",
    "escape": '"',
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
}


def without_formula(text: Column) -> Column:
    """A text column in which what would run as a formula begins with a single quote; numbers stay as they are."""
    runs = text.rlike(_STARTS) & ~text.rlike(_NUMBER)
    return F.when(runs, F.concat(F.lit("'"), text)).otherwise(text)
