"""How often rows are moved between tasks: what makes cleaning cheap, stated so that a change of it is noticed."""

from __future__ import annotations

import re

import pytest

from recsys_spark.cleaning import clean
from recsys_spark.cleaning.clean import clean_lines
from recsys_spark.contracts.config import CleanConfig, CoverageConfig, IngestConfig, SplitConfig, TablesConfig
from recsys_spark.ingest import tables as ingest_tables
from recsys_spark.ingest.tables import read_tables
from tests.support.frames import rows
from tests.support.lines import raw_lines
from tests.support.memory_io import MemoryIO

DATES = SplitConfig(fold_end="2011-01-10", train_end="2011-01-20", val_end="2011-01-25")
LINES = [*({"stock_code": f"S{n}"} for n in range(6)), {"stock_code": "S0", "extra": "{}"}, {"customer_id": None}]


@pytest.fixture
def exchanges(capsys):
    """Counts (shuffles, broadcasts) in a frame's physical plan."""

    def count(frame):
        capsys.readouterr()
        frame.explain()
        plan = capsys.readouterr().out
        assert "Physical Plan" in plan
        return len(re.findall(r"\bExchange ", plan)), len(re.findall(r"\bBroadcastExchange ", plan))

    return count


@pytest.fixture
def cleaned(spark, exchanges):
    """Cleans LINES; returns the result and the exchanges of each frame that was kept on the way."""

    def run(lines=LINES, split=DATES):
        counts = {}

        def materialise(name, frame, partition_by=None):
            counts[name] = exchanges(frame)
            return MemoryIO(spark).materialise(name, frame, partition_by)

        return clean_lines(raw_lines(spark, lines), CleanConfig(), split, materialise), counts

    return run


def test_cleaning_shuffles_the_hashes_of_keys_and_then_only_lines_whose_key_repeats(cleaned, exchanges):
    result, counts = cleaned()
    assert counts["lines"] == (0, 0)  # typed, labelled and written in one pass
    assert counts["repeated"] == (1, 0)  # a hash per line, no line
    assert counts["groups"] == (1, 1)  # behind a semi join with the repeated keys, which are broadcast
    assert counts["bounds"][1] == 1  # the keys again: quartiles are of the lines kept on disk, not of the raw ones
    assert exchanges(result.interactions) == (0, 2)  # the keys again, and the bounds
    assert exchanges(result.rejected)[0] == 0


def test_where_most_keys_repeat_every_line_is_shuffled_once(cleaned, exchanges, monkeypatch):
    monkeypatch.setattr(clean, "BROADCAST_ROWS", 0)
    result, counts = cleaned()
    assert counts["groups"] == (1, 0)
    assert exchanges(result.interactions) == (0, 1)


def test_texts_that_unicode_spells_otherwise_are_found_once_and_sent_to_every_task(cleaned, monkeypatch):
    lines = [*LINES, {"description": "GLASS\u00a0JAR"}]  # one no-break space
    result, counts = cleaned(lines)
    assert counts["lines"] == (0, 2)  # no line is shuffled: codes and descriptions are looked up in a broadcast each
    assert "GLASS JAR" in {row.description for row in result.interactions.select("description").collect()}
    monkeypatch.setattr(clean, "BROADCAST_ROWS", 0)
    assert cleaned(lines)[1]["lines"][0] > 0  # too many texts for that


def test_cutoffs_by_shares_read_the_lines_kept_on_disk(cleaned, exchanges, monkeypatch):
    """Who cuts by shares orders a customer's times: the lines behind them are neither cleaned nor shuffled anew."""
    seen = []
    fit_cutoffs = clean.fit_cutoffs

    def spied(interactions, split):
        seen.append(exchanges(interactions))
        return fit_cutoffs(interactions, split)

    monkeypatch.setattr(clean, "fit_cutoffs", spied)
    days = [{"stock_code": f"S{n}", "invoice_date": f"2011-01-{n:02d}T10:00:00"} for n in range(1, 21)]
    result, counts = cleaned([*days, days[0] | {"extra": "{}"}], SplitConfig())
    assert seen == [(0, 1)]  # the keys of the repeated lines alone
    assert counts["lines"] == (0, 0)
    assert exchanges(result.interactions) == (0, 2)


@pytest.fixture
def three_tables(tmp_path):
    header = "invoice_id,stock_code,customer_id,invoice_date,quantity,line_amount"
    texts = {
        "transactions": f"{header}\n1,A1,7,2011-01-05,2,3.50\n2,B2,8,2011-01-06,1,1.00\n",
        "products": "stock_code,description,brand\nA1,LANTERN,X\n",
        "customers": "customer_id,showroom\n7,North\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return IngestConfig(tables=TablesConfig(**{name: str(tmp_path / f"{name}.csv") for name in texts}))


def test_products_and_customers_are_sent_to_the_transactions(spark, three_tables, exchanges):
    lines = read_tables(spark, three_tables)
    # A broadcast each, and one each for the join that numbers the rows of three CSV files.
    assert exchanges(lines) == (0, 5)
    assert lines.count() == 2


def test_tables_too_large_for_that_are_joined_by_a_shuffle_of_both_sides(spark, three_tables, exchanges, monkeypatch):
    monkeypatch.setattr(ingest_tables, "BROADCAST_ROWS", 0)
    lines = read_tables(spark, three_tables)
    assert exchanges(lines) == (4, 3)
    assert lines.count() == 2


@pytest.mark.usefixtures("compiled")
def test_returns_are_taken_from_the_lines_kept_on_disk_by_plans_that_compile(spark):
    """The raw lines are typed once: a return is found among the rejected, and typed again alone."""
    read = []

    def materialise(name, frame, partition_by=None):
        plan = frame._jdf.queryExecution().optimizedPlan().toString()
        read.append((name, "was read" in plan))
        return MemoryIO(spark).materialise(name, frame, partition_by)

    purchases = [{"stock_code": f"S{n}", "invoice_id": str(n)} for n in range(4)]
    reverse = {"invoice_id": "C9", "invoice_date": "2011-01-06", "quantity": "-2", "line_amount": "-3.50"}
    raw = raw_lines(spark, [*purchases, {"stock_code": "S1", **reverse}]).filter("invoice_id != 'was read'")
    result = clean_lines(raw, CleanConfig(net_cancellations=True), DATES, materialise)
    assert rows(result.rejected, "source_row", "rule") == [(3, "cancelled"), (6, "return")]
    assert [name for name, from_raw in read if from_raw] == ["vocabulary", "lines"]


def test_rounds_of_coverage_do_not_multiply_the_plan(spark):
    def size(rounds):
        coverage = CoverageConfig(rounds=rounds, min_customers_per_item=1, min_items_per_customer=1)
        config = CleanConfig(coverage=coverage)
        result = clean_lines(raw_lines(spark, LINES), config, DATES, MemoryIO(spark).materialise)
        return len(result.interactions._jdf.queryExecution().optimizedPlan().toString())

    assert size(4) < 2 * size(2)
