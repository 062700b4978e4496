from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_spark.contracts.candidate_config import SOURCES
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import EXIT_USAGE, ConfigError
from recsys_spark.contracts.load_config import known_keys, load_config

BASE = Path(__file__).parents[2] / "conf" / "base.yaml"


def overlay(folder: Path, text: str, name: str = "overlay.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def as_yaml(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_yaml(inner) for key, inner in value.items()}
    return [as_yaml(inner) for inner in value] if isinstance(value, tuple | list) else value


def test_without_overlays_the_config_is_the_dataclass_defaults():
    assert load_config() == PipelineConfig()


def test_base_yaml_states_every_key_with_its_default_in_the_order_of_the_dataclasses():
    stated = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    defaults = as_yaml(asdict(PipelineConfig()))
    assert stated == defaults
    assert yaml.safe_dump(stated, sort_keys=False) == yaml.safe_dump(defaults, sort_keys=False)


def test_base_yaml_loads_to_the_defaults():
    assert load_config([str(BASE)]) == PipelineConfig()


def test_base_yaml_comments_every_key_with_a_value():
    lines = BASE.read_text(encoding="utf-8").splitlines()
    keys = {name.rpartition(".")[2] for name in known_keys()}
    commented = {line.split(":")[0].strip() for line in lines if ":" in line and "#" in line.partition(":")[2]}
    assert keys - commented <= {"train_end", "val_end"}  # told by the comment of fold_end


def test_a_tower_that_pools_histories_of_the_lines_own_order_is_refused():
    chosen = ["retriever.towers=[plain]", "sequences.history_mode=event"]
    assert load_config(pairs=chosen).retriever.plain.user_tower == "id"  # pools nothing while it learns
    with pytest.raises(ConfigError, match=r"retriever.plain.examples is sequences, .* set history_mode to basket"):
        load_config(pairs=[*chosen, "retriever.plain.user_tower=both"])


def test_a_history_is_as_long_as_where_a_tower_learns_from():
    settings = load_config(pairs=["retriever.all.examples=sequences"]).retriever
    assert [settings.tower(tower).hist_max(7, 9) for tower in ("all", "first", "plain")] == [7, 9, 9]


@pytest.mark.parametrize("towers", [(), ("first",)])
def test_quotas_of_towers_alone_are_refused_where_none_of_these_is_trained(towers):
    off = [f"candidates.quotas.{source}=0" for source in SOURCES if source != "two_tower_all"]
    with pytest.raises(ConfigError, match="switch on towers alone, and none .* give another source a quota"):
        load_config(pairs=[*off, f"retriever.towers=[{','.join(towers)}]"])
    assert load_config(pairs=off).candidates.quotas.two_tower_all


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["candidates.max_per_query=300", "ranker.batch_rows=299"], r"batch_rows must be at least .*is 300.* got 299"),
        (["ranker.drop_features=[dot_vu]"], "holds 'dot_vu', which is no feature of set 'full'"),
        (["ranker.drop_features=[trend]", "features.set=base"], "'trend', which is no feature of set 'base'"),
        (["ranker.drop_features=[rank_ease]", "candidates.quotas.ease=0"], "take it out, or switch its source on"),
        (["ranker.drop_features=[rank_two_tower_plain]"], "'rank_two_tower_plain'"),
    ],
)
def test_a_ranker_that_could_not_be_trained_is_refused_before_anything_runs(pairs, said):
    told = ["ranker.feature_drop=0.1", *pairs]
    with pytest.raises(ConfigError, match=said):
        load_config(pairs=told)
    assert load_config(pairs=[*told, "ranker.model=none"]).ranker.ranked == ()


def test_features_that_no_row_does_without_may_be_any():
    assert load_config(pairs=["ranker.drop_features=[x]"]).ranker.feature_drop == 0


def test_later_layers_win(tmp_path):
    first = overlay(tmp_path, "seed: 2\nsequences: {hist_max: 10, merge_minutes: 5}\n", "first.yaml")
    second = overlay(tmp_path, "sequences: {hist_max: 20}\n", "second.yaml")
    config = load_config([first, second], ["sequences.hist_max=30"])
    assert (config.seed, config.sequences.merge_minutes, config.sequences.hist_max) == (2, 5, 30)
    assert load_config([first, second]).sequences.hist_max == 20


def test_a_mapping_is_merged_and_a_list_is_replaced(tmp_path):
    path = overlay(tmp_path, "clean: {rules: {return: false}, non_product_codes: [FEE]}\n")
    clean = load_config([path]).clean
    assert not clean.applies("return")
    assert clean.applies("outlier")
    assert clean.non_product_codes == ("FEE",)


def test_an_empty_overlay_changes_nothing(tmp_path):
    assert load_config([overlay(tmp_path, "")]) == PipelineConfig()


def test_unquoted_dates_of_an_overlay_stay_text(tmp_path):
    path = overlay(tmp_path, "split: {fold_end: 2011-01-01, train_end: 2011-02-01, val_end: 2011-03-01}\n")
    assert load_config([path]).split.train_end == "2011-02-01"


def test_the_config_is_frozen():
    with pytest.raises(FrozenInstanceError):
        load_config().seed = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("clean.outliers.multplier=2", "did you mean 'clean.outliers.multiplier'?"),
        ("clean.outlier.multiplier=2", "did you mean 'clean.outliers'?"),
        ("hist_max=3", "did you mean 'queries.hist_max'?"),
        ("zzz=3", "Known keys of the top level: ablations, analysis, baselines, candidates, clean,"),
        ("sequences.hist_max=many", "sequences.hist_max: Value 'many'"),
        ("sequences.hist_max=null", "sequences.hist_max: Incompatible value 'None'"),
        ("clean=3", "--set clean=3: "),
        ("clean.rules.return=maybe", "clean.rules.return: Value 'maybe' is not a valid bool"),
        ("clean.rules.retrun=true", "clean.rules must be one of"),
        ("ingest.sources=x.xlsx", "ingest.sources: "),
        ("ingest.sources=[x", "the value is no YAML"),
        ("paths.processed=${nothing}", "nothing"),
        ("no-equals-sign", "--set takes key=value"),
        ("seed=0", "seed must be 1 to 2147483647"),
        ("seed=2147483648", "got 2147483648"),
        ("clean.outliers.multiplier=0", "clean.outliers.multiplier must be above 0, got 0.0"),
        ("clean.outliers.mode=clip", "clean.outliers.mode must be one of winsorize | drop | off, got 'clip'"),
        ("clean.coverage.rounds=-1", "clean.coverage.rounds must be 0 or more"),
        ("clean.dates.default_year=20", "clean.dates.default_year must be between 1900 and 2200"),
        ("split.train_share=0.5", "split shares must be 0 < fold < train < val < 1"),
        ("split.fold_end=2011-01-01", "given together or not at all"),
        ("baselines.models=[]", "baselines.models must be"),
        ("recommend.top_n=101", "recommend.top_n must be between 1 and 100"),
    ],
)
def test_a_bad_pair_is_one_line_that_says_what_is_wrong(pair, said):
    with pytest.raises(ConfigError) as caught:
        load_config(pairs=[pair])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "must hold a mapping of sections"),
        ("seed: [1\n", "cannot be read"),
        ("words\n", "unknown key 'words'"),
        ("1: 2\n", "unknown key '1'"),
    ],
)
def test_a_bad_overlay_is_named(tmp_path, text, said):
    path = overlay(tmp_path, text)
    with pytest.raises(ConfigError, match=r"overlay\.yaml") as caught:
        load_config([path])
    assert said in str(caught.value)


def test_a_key_that_is_like_none_ends_its_sentence():
    with pytest.raises(ConfigError, match=r"unknown key 'clean.zzzzqqqq'\. Known keys of clean: "):
        load_config(pairs=["clean.zzzzqqqq=1"])


def test_a_missing_overlay_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nope\.yaml' does not exist"):
        load_config([str(tmp_path / "nope.yaml")])
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config([str(tmp_path)])


def test_every_conf_file_loads():
    loaded = [load_config([str(path)]) for path in sorted(BASE.parent.glob("*.yaml"))]
    assert len(loaded) >= 1


@pytest.mark.parametrize("text", ["00123", "10_200", "12:30", "85123", "1.50", "no", "POST"])
def test_a_code_is_the_text_that_is_written_whatever_yaml_makes_of_it(text, tmp_path):
    path = tmp_path / "mine.yaml"
    for written in (text, f"'{text}'"):
        path.write_text(f"recommend:\n  excluded_codes: [{written}, B]\n  top_n: 7\n")
        from_file = load_config([str(path)]).recommend
        from_pair = load_config(pairs=[f"recommend.excluded_codes=[{written}, B]"]).recommend
        assert from_file.excluded_codes == from_pair.excluded_codes == (text, "B")
        assert from_file.top_n == 7


@pytest.mark.parametrize("text", ["2024_06", "0123", "12:30", "1.50", "no", "2024_01_05"])
def test_a_text_is_what_is_written_whatever_yaml_makes_of_it(text, tmp_path):
    path = overlay(tmp_path, f"paths: {{processed: {text}}}\nrecommend: {{customer_exclusions: {text}, as_of: null}}\n")
    from_file = load_config([path])
    from_pairs = load_config(pairs=[f"paths.processed={text}", f"recommend.customer_exclusions='{text}'"])
    for config in (from_file, from_pairs):
        assert (config.paths.processed, config.recommend.customer_exclusions) == (text, text)
    assert from_file.recommend.as_of is None


def test_a_setting_of_spark_may_be_given_by_its_dotted_name(tmp_path):
    path = overlay(tmp_path, "session: {conf: {spark.driver.memory: 4g, spark: {ui: {enabled: false}}}}\n")
    conf = load_config([path], ["session.conf.spark.driver.memory=8g", "session.conf={spark.sql.x: 007}"]).session.conf
    assert conf == {"spark.driver.memory": "8g", "spark.ui.enabled": "false", "spark.sql.x": "007"}
