from __future__ import annotations

import pytest

from jobs import recommend, what_if
from jobs.pipeline import command_parser
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.load_config import load_config
from recsys_spark.source_files import source_digests


@pytest.mark.parametrize("stage", [recommend.STAGE, what_if.STAGE], ids=lambda stage: stage.name)
@pytest.mark.parametrize("key", ["eligibility.table", "customer_exclusions"])
def test_a_table_that_changes_makes_the_stage_stale(tmp_path, stage, key):
    table = tmp_path / "table.csv"
    config = load_config(pairs=[f"recommend.{key}={table}"])
    digests = []
    for text in ("stock_code\nA1\n", "stock_code\nA2\n"):
        table.write_text(text)
        digests.append(source_digests(stage.sources(config)))
    assert digests[0].keys() == digests[1].keys() == {f"source:file://{table}"}
    assert digests[0] != digests[1]


def test_what_if_is_asked_for_by_a_word_of_recommend():
    parser = command_parser()
    assert parser.parse_args(["recommend", "--what-if", "--out", "cost.json"]).what_if
    assert not parser.parse_args(["recommend"]).what_if


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("max_per_category=0", "recommend.max_per_category must be at least 1, got 0"),
        ("max_per_brand=-1", "recommend.max_per_brand must be at least 1"),
        ("min_price=-0.5", "recommend.min_price must be 0 or more"),
        ("eligibility.unlisted=maybe", "recommend.eligibility.unlisted must be one of eligible | barred"),
        ("unknown_ids=skip", "recommend.unknown_ids must be one of error | ignore"),
        ("reasons.min_similarity=0", "recommend.reasons.min_similarity must be above 0"),
        ("reasons.recent_items=0", "recommend.reasons.recent_items must be at least 1"),
    ],
)
def test_rules_that_make_no_sense_are_refused(pair, said):
    with pytest.raises(ConfigError) as raised:
        load_config(pairs=[f"recommend.{pair}"])
    assert said in str(raised.value)
