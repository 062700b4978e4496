"""Which settings are tried, and which are chosen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from recsys_spark.baselines.list_tables import lists_by_protocol
from recsys_spark.baselines.loading import load_codes
from recsys_spark.baselines.registry import Fitted, ModelSettings
from recsys_spark.baselines.split_ranking import choose_settings, drawn_queries, models_of, publish_lists
from recsys_spark.baselines.tuning import GRIDS, MAX_TRIALS, changed, choose, chosen_settings, trials, tune
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.model_config import MODELS
from recsys_spark.contracts.schemas import QUERIES, SEQUENCES
from tests.baselines.test_model_scores import FLAT, Tables, batch_of
from tests.support.frames import frame, rows
from tests.support.memory_io import MemoryIO
from tests.support.worlds import START

CONFIG = PipelineConfig()
SETTINGS = ModelSettings(CONFIG.baselines, CONFIG.knn, CONFIG.ease, CONFIG.tifu, CONFIG.nmf)


@pytest.mark.parametrize("name", MODELS)
def test_at_most_ten_settings_are_tried_all_of_them_known_and_different(name):
    tried = [changed(SETTINGS, changes) for changes in trials(name)]
    assert tried[0] == SETTINGS
    assert len(tried) <= MAX_TRIALS
    assert all(one != other for at, one in enumerate(tried) for other in tried[:at])


def test_grids_are_those_of_models():
    assert set(GRIDS) <= set(MODELS)


def test_each_protocol_gets_what_did_best_under_it_and_of_equals_the_first():
    recalls = [{"all_items": 0.1, "first_purchase": 0.2}, {"all_items": 0.3, "first_purchase": 0.1}]
    given = iter([*recalls, *({"all_items": 0.3, "first_purchase": 0.2} for _ in range(MAX_TRIALS))])
    tried = tune("personal_frequency", lambda _: next(given))
    assert [trial["changes"] for trial in tried] == trials("personal_frequency")
    assert choose(tried) == {"all_items": trials("personal_frequency")[1], "first_purchase": {}}


def test_what_was_not_chosen_stays_as_the_config_has_it():
    chosen = {"item_knn": {"all_items": {"knn.self_weight": 3.0}}}
    assert chosen_settings(SETTINGS, chosen, "item_knn", "all_items").knn.self_weight == 3.0
    assert chosen_settings(SETTINGS, chosen, "item_knn", "first_purchase") == SETTINGS
    assert chosen_settings(SETTINGS, {}, "ease", "all_items") == SETTINGS


def test_a_key_that_the_config_lacks_is_named():
    with pytest.raises(ConfigError, match=r"knn\.zeal"):
        changed(SETTINGS, {"knn.zeal": 1.0})


def test_the_queries_that_settings_are_tried_on_stay_where_a_customer_is_added(spark):
    def drawn(shift):
        times = [START + timedelta(days=number) for number in range(100)]
        asked = [
            {"query_id": (customer + shift) * 1_000_000 + number, "customer_id": f"c{customer}", "event_time": time}
            for customer in range(10)
            for number, time in enumerate(times)
        ]
        return rows(drawn_queries(frame(spark, QUERIES, asked), 0.3), "customer_id", "event_time")

    assert 200 < len(drawn(0)) < 400
    assert drawn(0) == drawn(7)


def test_a_model_has_the_settings_of_all_items_and_where_they_differ_those_of_first_purchases(tmp_path):
    tables = Tables(tmp_path)
    codes = tables(item_idx=[1], stock_code=["i1"])
    fitted = Fitted(tables.popularity({1: (1, 1)}), partial(load_codes, codes.path, codes.content), {})
    days = {"all_items": {"baselines.half_life_days": 1.0}, "first_purchase": {"baselines.half_life_days": 1000.0}}

    def half_lives(chosen):
        models = models_of("personal_frequency", fitted, SETTINGS, {"personal_frequency": chosen})
        return [model.half_life_days for model in models]

    assert half_lives(days) == [1.0, 1000.0]
    assert half_lives({**days, "first_purchase": days["all_items"]}) == [1.0]


def test_each_protocol_is_ranked_with_its_own_settings(tmp_path):
    tables = Tables(tmp_path)
    codes = tables(item_idx=list(FLAT), stock_code=[f"i{item}" for item in FLAT])
    # Item 1 is bought often but long ago, item 2 once and lately; which comes first depends on the half-life.
    batch = batch_of([(0, 1), (1, 1), (2, 1), (60, 2)], day=61)
    fitted = Fitted(tables.popularity(FLAT), partial(load_codes, codes.path, codes.content), {})
    short, long = {"baselines.half_life_days": 1.0}, {"baselines.half_life_days": 1000.0}

    def listed(all_items, first_purchase):
        chosen = {"personal_frequency": {"all_items": all_items, "first_purchase": first_purchase}}
        found = lists_by_protocol(models_of("personal_frequency", fitted, SETTINGS, chosen), batch)
        return {protocol: lists.items.tolist() for protocol, lists in found.items()}

    lists = listed(short, long)
    assert lists["all_items"][:2] == lists["masked_seen"][:2] == [2, 1]
    assert sorted(lists) == ["all_items", "first_purchase", "masked_new", "masked_seen"]
    assert lists["masked_new"] == [item for item in lists["masked_seen"] if item not in (1, 2)]
    assert listed(long, long)["all_items"][:2] == [1, 2]


def test_without_models_nothing_is_ranked(spark):
    assert publish_lists(MemoryIO(spark), spark.range(0), {}, "train", "val") == {}


class WrittenIO(MemoryIO):
    """Gives files of tables too."""

    def path_and_content(self, artifact, **keys):
        table = self.held[f"written {artifact.name}"]
        return table.path, table.content


def test_every_trial_is_heard_and_the_best_of_each_protocol_is_chosen(spark, tmp_path):
    """Twenty items were bought three times long ago, item 21 once and lately: it is listed where 3 / 2^(59 / half-life)
    is below 1, which is for fewer than 37 days. Item 22, never bought, is the first of its kind whatever the half-life.
    """
    tables = Tables(tmp_path)
    codes = tables(item_idx=list(range(1, 23)), stock_code=[f"i{item}" for item in range(1, 23)])
    io = WrittenIO(spark)
    io.held["written item_popularity"] = tables.popularity(dict.fromkeys(range(1, 23), (1, 1)))
    io.held["written item_id_map"] = codes
    io.held[artifacts.ITEM_ID_MAP.path] = spark.read.parquet(codes.path)
    query = {"query_id": 7, "user_idx": 1, "customer_id": "c1", "event_time": START + timedelta(days=61)}
    positives = [{**query, "pos_item_idx": 21, "is_repeat": True}, {**query, "pos_item_idx": 22, "is_repeat": False}]
    io.give(artifacts.QUERIES, frame(spark, QUERIES, [query]), split="val")
    io.give(artifacts.SEQUENCES, frame(spark, SEQUENCES, positives), split="val")
    start, day = int(START.timestamp()) * 1_000_000, 86_400_000_000
    bought = [(item, start + at * day) for at in range(3) for item in range(1, 21)] + [(21, start + 60 * day)]
    items, micros = map(list, zip(*bought, strict=True))
    histories = spark.createDataFrame(
        [(1, items, micros)], "user_idx bigint, items array<bigint>, micros array<bigint>"
    )
    settings = replace(SETTINGS, baselines=replace(SETTINGS.baselines, models=("personal_frequency",)))
    found = choose_settings(io, settings, histories, fit="train", split="val")
    tried = {
        trial["changes"].get("baselines.half_life_days", settings.baselines.half_life_days): trial["recall@20"]
        for trial in found["tried"]["personal_frequency"]
    }
    assert {days: recall["all_items"] for days, recall in tried.items()} == {
        60.0: 0.0,
        15.0: 0.5,
        30.0: 0.5,
        120.0: 0.0,
        240.0: 0.0,
        1000.0: 0.0,
    }
    assert {recall["first_purchase"] for recall in tried.values()} == {1.0}
    best = {"all_items": {"baselines.half_life_days": 15.0}, "first_purchase": {}}
    assert (found["share_of_queries"], found["chosen"]) == (1.0, {"personal_frequency": best})
