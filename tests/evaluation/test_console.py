from recsys_spark.evaluation.console import WIDTH, evaluation_table, spread_table
from recsys_spark.evaluation.ranking_metrics import METRICS, SECTIONS


def _evaluation(models, value):
    means = {section: {m.label: value for m in METRICS if m.section == section} for section in SECTIONS}
    result = {"num_positives": 12_345_678, "num_queries": 987_654, "models": dict.fromkeys(models, means)}
    return {"split": {"test": {"protocols": {"all_items": result}}}, "best": {"all_items": models[0]}}


def test_the_table_fits_the_terminal_even_with_long_names():
    table = evaluation_table(_evaluation(["popularity", "a_model_with_a_name_that_goes_on_and_on_for_ever"], 0.12345))
    assert max(len(line) for line in table.splitlines()) <= WIDTH
    assert "popularity *" in table
    assert "0.1235" in table
    assert "12,345,678 positives" in table


def test_a_mean_over_nothing_is_shown_as_a_dash():
    assert "nan" not in (table := evaluation_table(_evaluation(["popularity"], None))).lower()
    assert " -" in table


def test_warnings_stand_below_the_table_and_fit_too():
    table = evaluation_table({**_evaluation(["popularity"], 0.1), "warnings": ["look for a leak " * 10]})
    assert "warning: look for a leak" in table
    assert max(len(line) for line in table.splitlines()) <= WIDTH


def test_the_spread_shows_every_run():
    recall = {"per_positive": {"recall@20": {"values": [0.1, None, 0.3], "mean": 0.2, "sd": 0.1414}}}
    found = {"runs": ["to May", "to April", "to March"], "protocols": {"all_items": {"popularity": recall}}}
    table = spread_table(found)
    assert table.splitlines()[:1] == ["run 0: to May"]
    assert table.splitlines()[5].split() == ["popularity", "0.2000", "0.1414", "0.1000", "-", "0.3000"]
    assert max(len(line) for line in table.splitlines()) <= WIDTH
