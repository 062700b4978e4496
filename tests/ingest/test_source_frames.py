import sys

from pyspark.sql import functions as F

from recsys_spark.ingest.cells import cell_text
from recsys_spark.ingest.source_frames import WHITE_SPACE, blank_as_null
from tests.support.frames import column


def test_white_space_is_what_python_strips():
    assert set(WHITE_SPACE) == {letter for letter in map(chr, range(sys.maxunicode + 1)) if not letter.strip()}


def test_a_text_is_blank_where_the_same_cell_of_a_workbook_is(spark):
    signs = [*WHITE_SPACE, *"!~0a\x01\x7f\x80é\u200b\ufeff\U0001f4a1", "مصباح", " ", "  ", ""]
    texts = [text for sign in signs for text in (sign, f" {sign}", f"{sign}\u00a0 ", f"{sign}x", f" {sign} x")]
    frame = spark.createDataFrame([(text,) for text in [*texts, None]], "text string").coalesce(1)
    assert column(frame.select(blank_as_null(F.col("text")).alias("text")), "text") == [*map(cell_text, texts), None]
