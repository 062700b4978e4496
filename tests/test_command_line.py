from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from jobs import pipeline
from jobs.pipeline import command_parser
from recsys_spark import command_line
from recsys_spark.command_line import (
    add_options,
    add_switches,
    common_arguments,
    config_from,
    finish,
    guarded,
    working_arguments,
)
from recsys_spark.contracts.errors import ConfigError, DataError, GateError, StageGraphError

ROOT = Path(__file__).parents[1]


def raising(error: BaseException):
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("seed must be at least 1"), 2, "error: seed must be at least 1"),
        (StageGraphError("stage 'x' reads 'y'"), 2, "error: stage 'x' reads 'y'"),
        (DataError("no date parses"), 3, "error: no date parses"),
        (GateError("recall 0.1 is below 0.2"), 4, "error: recall 0.1 is below 0.2"),
        (KeyboardInterrupt(), 130, "error: interrupted; what was published stays, the same command goes on"),
        (ValueError("odd\nsecond line"), 1, "error: ValueError: odd (--debug shows more)"),
        (ValueError(), 1, "error: ValueError: no message (--debug shows more)"),
    ],
)
def test_each_fault_is_one_line_and_an_exit_code(capsys, error, code, said):
    assert guarded(raising(error), debug=False) == code
    captured = capsys.readouterr()
    assert captured.err == said + "\n"
    assert captured.out == ""


def test_debug_adds_the_traceback(capsys):
    assert guarded(raising(DataError("no date parses")), debug=True) == 3
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: no date parses\n")


def test_success_is_silent_and_returns(capsys):
    assert guarded(lambda: None, debug=False) == 0
    assert capsys.readouterr().err == ""
    finish(0)  # no SystemExit


def test_a_fault_leaves_with_its_code():
    with pytest.raises(SystemExit) as caught:
        finish(3)
    assert caught.value.code == 3


def test_common_arguments_reach_the_config(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("seed: 7\n")
    parser = common_arguments(argparse.ArgumentParser())
    arguments = parser.parse_args(["--config", str(overlay), "--set", "sequences.hist_max=3", "--set", "seed=8"])
    config = config_from(arguments)
    assert (config.seed, config.sequences.hist_max) == (8, 3)
    assert not arguments.debug
    assert not hasattr(arguments, "force")  # of what runs stages alone
    working = working_arguments(argparse.ArgumentParser()).parse_args([])
    assert (working.force, working.verify) == (False, "size")


def config_given(*files: str):
    words = [word for file in files for word in ("--config", file)]
    return config_from(common_arguments(argparse.ArgumentParser()).parse_args(words))


def test_a_config_may_lie_on_any_file_system(tmp_path):
    (tmp_path / "a.yaml").write_text("sequences: {hist_max: 3}")
    fsspec.filesystem("memory").pipe_file("/conf/mine.yaml", b"seed: 7")
    config = config_given((tmp_path / "a.yaml").as_uri(), "memory://conf/mine.yaml")
    assert (config.seed, config.sequences.hist_max) == (7, 3)
    with pytest.raises(ConfigError, match="'memory://conf/yours.yaml' does not exist"):
        config_given("memory://conf/yours.yaml")


def test_a_config_on_dbfs_is_found_where_databricks_mounts_it():
    with pytest.raises(ConfigError, match="'dbfs:/no/such.yaml' does not exist"):
        config_given("dbfs:/no/such.yaml")
    assert command_line.filesystem("dbfs:/conf/mine.yaml")[1] == "/dbfs/conf/mine.yaml"


def test_a_config_that_spark_submit_ships_is_found_by_its_name_behind_files_of_the_folder(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text("seed: 7")
    monkeypatch.setattr(command_line, "submitted_files", lambda: [f"file://{tmp_path}/conf/mine.yaml"])
    monkeypatch.chdir(tmp_path)
    assert config_given("mine.yaml").seed == 7
    with pytest.raises(ConfigError, match="'other/mine.yaml' does not exist"):
        config_given("other/mine.yaml")
    (tmp_path / "mine.yaml").write_text("seed: 8")
    assert config_given("mine.yaml").seed == 8


def test_a_wrong_argument_is_a_usage_error():
    with pytest.raises(SystemExit) as caught:
        working_arguments(argparse.ArgumentParser()).parse_args(["--verify", "some"])
    assert caught.value.code == 2


def test_a_switch_is_short_for_a_config_value():
    parser = common_arguments(argparse.ArgumentParser())
    add_switches(parser, {"--tune": "baselines.tune=true"})
    assert config_from(parser.parse_args(["--tune", "--set", "seed=2"])).baselines.tune
    assert not config_from(parser.parse_args(["--set", "seed=2"])).baselines.tune


def test_an_option_of_several_values_keeps_those_of_every_use_and_names_of_any_sign():
    parser = common_arguments(argparse.ArgumentParser())
    add_options(parser, {"--with": ("recommend.new_lines", "FILE..."), "--as-of": ("recommend.as_of", "TIME")})
    given = parser.parse_args(["--with", "a.csv", "b.csv", "--as-of", "2011", "--with", "\U0001f600.csv"])
    assert config_from(given).recommend.new_lines == ("a.csv", "b.csv", "\U0001f600.csv")
    assert config_from(parser.parse_args(["--with", "c.csv"])).recommend.new_lines == ("c.csv",)
    assert config_from(parser.parse_args(["--as-of", "2011-01-05", "--as-of", "2011-01-06"])).recommend.as_of == (
        "2011-01-06"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--folds", "1"], "argument --folds: a whole number of at least 2, got '1'"),
        (["--folds", "few"], "argument --folds: a whole number of at least 2, got 'few'"),
        (["--folds", "2", "--seeds", "2"], "argument --seeds: not allowed with argument --folds"),
    ],
)
def test_folds_and_seeds_are_two_or_more_and_one_of_them(capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        command_parser().parse_args(["evaluate", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recommend", "--what-if", "--as-of", "2011-01-05"], "leave out recommend.as_of"),
        (["recommend", "--what-if", "--with", "a.csv"], "leave out recommend.new_lines"),
        (["recommend", "--out", "cost.json"], "--out is what --what-if found"),
        (["evaluate", "--out", "x.json"], "--out is what --folds or --seeds found"),
        (["evaluate", "--folds", "2", "--out", "{taken}"], "exists already"),
        (["evaluate", "--check-leaks", "--seeds", "2"], "--check-leaks goes without --folds and --seeds"),
        (["recommend", "--what-if", "--out", "{root}/x.json"], "lies among the artifacts"),
        (["compare", "{root}", "b", "--out", "{root}/x.json"], "lies among the artifacts"),
        (["compare", "a", "b", "--out", "{root}/no/x.json"], "there is no folder"),
    ],
)
def test_what_could_not_be_done_or_written_is_refused_before_any_work(tmp_path, words, said):
    taken, root = tmp_path / "taken.json", tmp_path / "run"
    taken.touch()
    root.mkdir()
    given = [word.format(taken=taken, root=root) for word in words]
    arguments = command_parser().parse_args([*given, "--set", f"paths.processed={root}"])
    with pytest.raises(ConfigError, match=said):
        pipeline.COMMANDS[arguments.command].work(arguments)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--from", "evaluate", "--to", "clean"], "--from evaluate comes after --to clean"),
        (["run", "--set", "clean.outlier.multiplier=2"], "clean.outliers"),
        (["run", "--config", "no/such.yaml"], "'no/such.yaml' does not exist"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_2(words, said):
    answer = subprocess.run(
        [sys.executable, "-m", "jobs.pipeline", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
