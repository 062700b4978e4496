from recsys_spark.evaluation.console import WIDTH, evaluation_table
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
