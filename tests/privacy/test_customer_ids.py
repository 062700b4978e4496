"""Pseudonyms: one per customer and key, the same wherever an id comes in, and never the id itself."""

from __future__ import annotations

import base64
import hashlib
import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from jobs import clean, entities, ingest, sequences
from recsys_spark.contracts.artifacts import CUSTOMER_ID_MAP, INGEST_REPORT, RAW_LINES, REJECTED_LINES
from recsys_spark.contracts.config import IngestConfig
from recsys_spark.contracts.errors import EXIT_USAGE, ConfigError, DataError
from recsys_spark.contracts.load_config import load_config
from recsys_spark.ingest.readers import read_sources
from recsys_spark.ingest.tables import read_tables
from recsys_spark.privacy.customer_ids import (
    key_fingerprint,
    key_of,
    normal_id,
    normal_ids,
    pseudonym,
    pseudonymised,
)
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.ingest.workbook_files import CSV_HEADER, CSV_LINE, HEADERS, LINE, ingest_config, write_text, write_workbook
from tests.privacy.every_byte import places_of
from tests.support.frames import column, rows
from tests.support.lines import raw_lines

KEY = b"thirty-two random letters, say.."
VARIABLE = "RECSYS_TEST_KEY"
PREPARATION = (ingest.STAGE, clean.STAGE, entities.STAGE, sequences.STAGE)


def hmac_by_its_definition(key: bytes, message: bytes) -> bytes:
    """RFC 2104, for keys of up to a block."""
    inner, outer = (bytes(byte ^ mask for byte in key.ljust(64, b"\0")) for mask in (0x36, 0x5C))
    return hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).digest()


def test_a_pseudonym_is_the_first_hundred_bits_of_the_hmac_of_the_normal_id():
    expected = base64.b32encode(hmac_by_its_definition(KEY, b"71053")).decode().lower()[:20]
    assert pseudonym(KEY, " 71053.0") == "c" + expected
    assert pseudonym(KEY, "\u00a0 ") == ""


@given(st.text(max_size=12))
def test_a_normal_id_is_normal(text):
    assert normal_id(normal_id(text)) == normal_id(text)
    assert normal_id(f" {text}\t") == normal_id(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("71053.0", "71053", True),
        ("\ufeff71053", "71053\u00a0", True),
        ("\u200f71053", "71053", True),
        ("00042", "42", False),  # leading zeros are kept
        ("a1", "A1", False),
        ("4.2", "4", False),
        ("A.0", "A", False),
    ],
)
def test_what_counts_as_the_same_customer(one, other, same):
    assert (pseudonym(KEY, one) == pseudonym(KEY, other)) is same


SPELLINGS = {
    "13085": "13085",
    "13085.0": "13085",
    "13085.000": "13085",
    " 13085.0\t": "13085",
    "17850\u00a0": "17850",
    "\ufeff17850\u3000\n": "17850",
    "\u200f13085": "13085",
    "\u200f \u202a13085.0\u202c\u00a0": "13085",
    "A\u200e-12": "A-12",  # the marks show nothing wherever they stand
    "عميل\u061c 7": "عميل 7",
    "\u2066\u2069": None,
    "00042": "00042",
    "00042.0": "00042",
    "0.0": "0",
    ".0": ".0",
    "13085.": "13085.",
    "13085.10": "13085.10",
    "-1.0": "-1.0",
    "A1.0": "A1.0",
    "1.0.0": "1.0.0",
    "1 2.0": "1 2.0",
    "1.0\x85": "1.0\x85",  # no blank here, though the end of a line to Java's $
    "1.0\n2.0": "1.0\n2.0",
    "\u0661.0": "\u0661.0",
    "\u00a0 \t": None,
    "": None,
    None: None,
}


def test_ids_of_a_column_are_spelled_as_single_ids_are(spark):
    assert all((normal_id(text) or None) == normal for text, normal in SPELLINGS.items() if text is not None)
    frame = spark.createDataFrame(list(SPELLINGS.items()), "text string, normal string")
    found = rows(frame.select("text", normal_ids(F.col("text")).alias("normal")))
    assert found == rows(frame)


NEAR_IDS = st.text(alphabet="01.٣A- \t\n\x0b\x1c\x85\u00a0\u200b\u200e\u200f\u202b\u2028\u2067\ufeff", max_size=6)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(NEAR_IDS, max_size=300))
def test_ids_of_any_column_are_spelled_as_single_ids_are(spark, texts):
    frame = spark.createDataFrame([(text,) for text in texts], "text string")
    found = column(frame.select(normal_ids(F.col("text")).alias("normal")), "normal")
    assert found == [normal_id(text) or None for text in texts]


def test_a_hundred_thousand_customers_have_as_many_pseudonyms_of_one_form():
    found = {pseudonym(KEY, str(number)) for number in range(100_000)}
    assert len(found) == 100_000
    assert all(len(each) == 21 and each[0] == "c" and each.isalnum() for each in found)


@pytest.mark.parametrize("held", [None, "", "too short"])
def test_a_missing_or_short_key_names_its_variable_and_never_its_value(monkeypatch, held):
    monkeypatch.delenv(VARIABLE, raising=False)
    if held is not None:
        monkeypatch.setenv(VARIABLE, held)
    with pytest.raises(ConfigError, match=VARIABLE) as caught:
        key_of(IngestConfig(pseudonymise_key_env=VARIABLE))
    assert caught.value.exit_code == EXIT_USAGE
    assert "\n" not in str(caught.value)
    assert not held or held not in str(caught.value)


def test_a_key_written_where_its_variable_belongs_is_not_shown():
    with pytest.raises(ConfigError, match="the name of an environment variable") as caught:
        load_config(pairs=["ingest.pseudonymise_key_env=s3cret key of mine"])
    assert "s3cret" not in str(caught.value)


def test_the_key_shows_in_no_text_of_what_holds_it():
    entry = CustomerEntry(KEY)
    assert KEY.decode() not in repr(entry)
    assert entry.facts() == {"pseudonymise_key": key_fingerprint(KEY)}
    assert key_fingerprint(KEY) != key_fingerprint(KEY + b"!")
    assert entry.facts()["pseudonymise_key"] not in pseudonym(KEY, "1")


@pytest.mark.spark
def test_the_key_is_in_no_query_plan(spark):
    lines = pseudonymised(raw_lines(spark, [{"extra": '{"a":"b"}'}]), KEY)
    plan = lines._jdf.queryExecution().toString()
    assert "pythonUDF" in plan
    assert KEY.decode() not in plan
    assert KEY.hex().upper() not in plan.upper()


@pytest.mark.spark
def test_other_columns_are_hashed_value_by_value_and_equal_ones_stay_equal(spark):
    lines = [
        {"customer_id": "71053", "extra": '{"City":"Riyadh","Bill to":"71053.0"}'},
        {"customer_id": "71053.0", "extra": '{"City":"Riyadh","Note":null}'},
        {"customer_id": None, "extra": None},
        {"customer_id": " ", "extra": "{}"},
    ]
    found = pseudonymised(raw_lines(spark, lines), KEY).orderBy("source_row").collect()
    own, city = pseudonym(KEY, "71053"), pseudonym(KEY, "Riyadh")
    assert [row["customer_id"] for row in found] == [own, own, None, None]
    assert json.loads(found[0]["extra"]) == {"City": city, "Bill to": own}
    assert json.loads(found[1]["extra"])["City"] == city
    assert [row["extra"] for row in found[2:]] == [None, "{}"]
    assert {row["stock_code"] for row in found} == {"A1"}
    raw = raw_lines(spark, lines).orderBy("source_row")  # a table of its own, such as one of exclusions
    assert column(raw.select(CustomerEntry(KEY).named(F.col("customer_id")).alias("id")), "id") == [
        own,
        own,
        None,
        None,
    ]
    assert column(raw.select(CustomerEntry().named(F.col("customer_id")).alias("id")), "id")[1] == "71053.0"


@pytest.mark.spark
def test_of_a_line_with_too_many_fields_no_cell_stays(spark, tmp_path):
    shifted = CSV_LINE.replace("LAMP", "LAMP, red")  # the customer lies in the column of the date
    path = write_text(tmp_path / "a.csv", CSV_HEADER, CSV_LINE, shifted)
    lines = CustomerEntry(KEY).admit(read_sources(spark, ingest_config(path)))
    text = " ".join(str(value) for row in lines.collect() for value in row)
    assert "17850" not in text
    assert sorted(column(lines, "stock_code"), key=str) == ["00123", None]


@pytest.mark.spark
def test_a_customer_with_two_rows_is_not_named_where_names_are_secret(spark, tmp_path):
    transactions = write_text(tmp_path / "t.csv", CSV_HEADER, CSV_LINE)
    customers = write_text(tmp_path / "c.csv", "customer_id,showroom", "17850,A", "17850,B")
    config = load_config(
        pairs=[
            f"ingest.tables={{transactions: {transactions}, customers: {customers}}}",
            f"ingest.pseudonymise_key_env={VARIABLE}",
        ]
    ).ingest
    with pytest.raises(DataError, match=r"one customer_id has 2 rows") as caught:
        read_tables(spark, config)
    assert "17850" not in str(caught.value)


PLANTED = ("PLANTED-ALPHA-77", "PLANTED-BETA-78", "9180273645")


@pytest.fixture(scope="module")
def prepared(spark, tmp_path_factory):
    """(root, logs): the preparation run over planted ids in CSV and in a workbook, as text and as number cells."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "in").mkdir()
    days = [f"2011-03-{day:02d}T12:00:00" for day in range(1, 25)]
    header = CSV_HEADER + ",Account manager"
    lines = [
        f"{100 + at},{at % 5},LAMP,{PLANTED[at % 3]},{day},6,15.3,for {PLANTED[at % 3]}" for at, day in enumerate(days)
    ]
    bad = [f"9,1,LAMP, red,{PLANTED[0]},2011,6,15,x", f"C9,1,LAMP,{PLANTED[1]},{days[0]},-6,-15,x", lines[0]]
    write_text(folder / "in" / "a.csv", header, *lines, *bad)
    cells = [[*LINE[:3], customer, *LINE[4:]] for customer in (*PLANTED[:2], 9180273645)]
    write_workbook(folder / "in" / "b.xlsx", [HEADERS, *cells])
    config = load_config(
        pairs=[
            f"paths.processed={folder / 'run'}",
            f"ingest.sources=[{folder / 'in'}]",
            f"ingest.pseudonymise_key_env={VARIABLE}",
        ]
    )
    said = logging.Handler()
    texts: list[str] = []
    said.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    patch = pytest.MonkeyPatch()
    patch.setenv(VARIABLE, KEY.decode())
    logger = logging.getLogger()
    level = logging.getLogger("recsys").level
    logging.getLogger("recsys").setLevel(logging.DEBUG)
    logger.addHandler(said)
    storage = Storage(config.paths.processed, spark)
    for stage in PREPARATION:
        run_stage(stage, config, storage)
    logger.removeHandler(said)
    logging.getLogger("recsys").setLevel(level)
    yield config, storage, texts
    patch.undo()


@pytest.mark.spark
def test_no_byte_of_any_file_and_no_log_line_shows_an_id_or_the_key(prepared, tmp_path):
    config, storage, logged = prepared
    secrets = (*PLANTED, KEY.decode(), KEY.hex())
    assert places_of(storage.root, secrets) == []
    assert logged
    assert [line for line in logged if any(secret in line for secret in secrets)] == []
    assert places_of(storage.root, ["LAMP"]) != []  # the search does find what is there
    assert places_of(config.ingest.sources[0], PLANTED) != []


@pytest.mark.spark
def test_a_customer_has_one_pseudonym_from_text_and_number_cells(prepared):
    _, storage, _ = prepared
    expected = sorted(pseudonym(KEY, planted) for planted in PLANTED)
    ids = storage.read_table(CUSTOMER_ID_MAP.path, CUSTOMER_ID_MAP.schema)
    assert sorted(column(ids, "customer_id")) == expected
    lines = storage.read_table(RAW_LINES.path, RAW_LINES.schema).filter("source_sheet = 'Lines'")
    assert sorted(column(lines, "customer_id")) == expected
    rejected = storage.read_table(REJECTED_LINES.path, REJECTED_LINES.schema)
    assert sorted(rows(rejected, "rule")) == [("exact_duplicate",), ("ragged_line",), ("return",)]


@pytest.mark.spark
def test_a_new_key_runs_ingest_again_and_the_report_says_which_it_was(prepared, monkeypatch):
    config, storage, _ = prepared
    assert run_stage(ingest.STAGE, config, storage).skipped
    report = storage.read_json(INGEST_REPORT.path)
    assert report["pseudonymise_key"] == key_fingerprint(KEY)
    CustomerEntry(KEY).require_same_key(report)
    for other in (CustomerEntry(KEY + b"!"), CustomerEntry()):
        with pytest.raises(ConfigError, match="were given other names than new lines would be"):
            other.require_same_key(report)
    monkeypatch.setenv(VARIABLE, KEY.decode() + "!")
    assert not run_stage(ingest.STAGE, config, storage).skipped
    assert storage.read_json(INGEST_REPORT.path)["pseudonymise_key"] == key_fingerprint(KEY + b"!")
