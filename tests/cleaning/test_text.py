import unicodedata

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from recsys_spark.cleaning.text import normal_forms, replace_by, tidy, tidy_codes
from recsys_spark.spelling import tidy_code
from tests.support.frames import column, rows


def test_texts_are_trimmed_upper_cased_and_single_spaced(spark):
    texts = [" red  lamp ", "a\tb\nc", "   ", "ok", "straße", "\u200fRed\u00a0\u2009 lamp\u202c", "\u200e"]
    frame = spark.createDataFrame([(text,) for text in texts], "text string")
    found = [row[0] for row in frame.select(tidy(F.col("text"))).collect()]
    assert found == ["RED LAMP", "A B C", None, "OK", "STRASSE", "RED LAMP", None]


CODES = st.text(alphabet="01.aß٣- \t\n\x0b\x1c\x85\u00a0\u1680\u200b\u200f\u2028\u2066\ufeff", max_size=6)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(CODES.map(lambda text: unicodedata.normalize("NFKC", text)), max_size=300))
def test_codes_of_a_column_are_spelled_as_single_codes_are(spark, texts):
    frame = spark.createDataFrame([(text,) for text in texts], "text string")
    found = column(frame.select(tidy_codes(F.col("text")).alias("code")), "code")
    assert found == [tidy_code(text) or None for text in texts]


def test_only_texts_that_nfkc_changes_are_in_the_vocabulary(spark):
    texts = ["plain", "£5 café", "مصباح", "ﺷﺤﻦ", "Ｆｕｌｌ", "a\u00a0b", "cafe\u0301"]
    frame = spark.createDataFrame([(text, None) for text in texts], "code string, text string")
    expected = [("a\u00a0b", "a b"), ("cafe\u0301", "café"), ("Ｆｕｌｌ", "Full"), ("ﺷﺤﻦ", "شحن")]
    assert rows(normal_forms(frame, ("code", "text"))) == sorted(expected, key=repr)


def test_vowel_signs_and_letters_that_join_the_one_before_are_found(spark):
    texts = ["\u1112\u1161\u11ab", "\u1100\u1161", "\u09c7\u09be", "\u0bc6\u0bbe", "\u1025\u102e", "\u0995\u09be"]
    frame = spark.createDataFrame([(text,) for text in texts], "text string")
    joined = ["\ud55c", "\uac00", "\u09cb", "\u0bca", "\u1026"]  # the last text has nothing to join
    assert rows(normal_forms(frame, ("text",))) == sorted(zip(texts, joined, strict=False), key=repr)


def test_the_normal_form_takes_the_place_of_its_text_and_no_other(spark):
    frame = spark.createDataFrame([("Ｆ", 1), ("F", 2), (None, 3)], "text string, n int")
    vocabulary = spark.createDataFrame([("Ｆ", "F")], "text string, normal string")
    assert rows(replace_by(frame, vocabulary, "text")) == [("F", 1), ("F", 2), (None, 3)]


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], min_codepoint=1)), max_size=300))
def test_no_text_that_nfkc_changes_is_overlooked(spark, texts):
    frame = spark.createDataFrame([(text,) for text in texts], "text string")
    changed = {(text, unicodedata.normalize("NFKC", text)) for text in texts}
    found = {tuple(row) for row in normal_forms(frame, ("text",)).collect()}
    # Spark's Unicode tables and Python's may differ by a version; what is found must be right, and ASCII is never.
    assert found <= {pair for pair in changed if pair[0] != pair[1]}
    assert {pair for pair in changed if pair[0] != pair[1] and all(ord(c) < 0xFFFF for c in pair[0])} <= found
