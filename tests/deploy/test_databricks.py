"""The Databricks bundle holds what Databricks knows, all stages in order, and keys that the config has."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from jobs.pipeline import STAGES, command_parser
from recsys_spark.command_line import config_from
from recsys_spark.contracts.load_config import known_keys, load_config
from recsys_spark.runs.choose import key_of

jobs = pytest.importorskip("databricks.sdk.service.jobs")
bundles = pytest.importorskip("databricks.bundles.jobs")

ROOT = Path(__file__).parents[2]
BUNDLE = yaml.safe_load((ROOT / "databricks.yml").read_text(encoding="utf-8"))
FILES = [path for pattern in BUNDLE["include"] for path in sorted(ROOT.glob(pattern))]
JOBS = [
    (path, job)
    for path in FILES
    for job in yaml.safe_load(path.read_text(encoding="utf-8"))["resources"]["jobs"].values()
]
JOB_FILE, JOB = JOBS[0]
TASKS = JOB["tasks"]
VARIABLE = re.compile(r"\$\{var\.(\w+)\}")
PARAMETER = re.compile(r"\{\{job\.parameters\.(\w+)\}\}")
TRAINED_ON_GPUS = {"train_retriever", "train_ranker"}


def resolved(node: Any) -> Any:
    """With each ${var.x} replaced by its default, as the bundle's deployment does."""
    if isinstance(node, dict):
        return {key: resolved(value) for key, value in node.items()}
    if isinstance(node, list):
        return [resolved(value) for value in node]
    if not isinstance(node, str):
        return node
    whole = VARIABLE.fullmatch(node)
    defaults = {name: told["default"] for name, told in BUNDLE["variables"].items()}
    return defaults[whole[1]] if whole else VARIABLE.sub(lambda found: str(defaults[found[1]]), node)


def given(task: dict) -> list[str]:
    """A task's parameters with the job's own values in place."""
    values = {entry["name"]: entry["default"] for entry in resolved(JOB["parameters"])}
    words = [
        PARAMETER.sub(lambda found: str(values[found[1]]), word) for word in task["python_wheel_task"]["parameters"]
    ]
    return [word.replace("${workspace.file_path}", str(ROOT)).replace("{{job.run_id}}", "417") for word in words]


def test_the_bundle_includes_one_job_file_and_names_its_wheel():
    assert [path.name for path in FILES] == ["pipeline.job.yml"]
    assert BUNDLE["artifacts"]["recommender"]["build"] == "make dist"
    assert BUNDLE["artifacts"]["recommender"]["files"] == [{"source": "dist/*.whl"}]
    assert {(target, told["mode"]) for target, told in BUNDLE["targets"].items()} == {
        ("development", "development"),
        ("production", "production"),
    }
    assert [target for target, told in BUNDLE["targets"].items() if told.get("default")] == ["development"]


def test_no_key_of_the_job_is_unknown_to_the_sdk_or_lost_in_the_round_trip():
    stated = resolved(JOB)
    assert jobs.JobSettings.from_dict(copy.deepcopy(stated)).as_dict() == stated


def test_each_task_survives_the_round_trip_by_itself():
    for task in resolved(TASKS):
        assert jobs.Task.from_dict(copy.deepcopy(task)).as_dict() == task


def test_a_key_that_the_sdk_does_not_know_is_noticed():
    wrong = resolved(JOB)
    wrong["tasks"][0]["max_retrys"] = 1
    assert jobs.JobSettings.from_dict(copy.deepcopy(wrong)).as_dict() != wrong


def test_the_bundles_own_classes_take_the_job_with_its_variables():
    job = bundles.Job.from_dict(JOB)
    assert [task.task_key for task in job.tasks] == [stage.name for stage in STAGES]
    with pytest.raises(Exception, match="max_retrys"):
        bundles.Job.from_dict({**JOB, "tasks": [{**TASKS[0], "max_retrys": 1}]})


def test_tasks_are_the_stages_in_order_each_after_the_one_before():
    names = [stage.name for stage in STAGES]
    assert [task["task_key"] for task in TASKS] == names
    before = [[entry["task_key"] for entry in task.get("depends_on", [])] for task in TASKS]
    assert before == [[], *([name] for name in names[:-1])]


def test_only_training_runs_on_gpus():
    clusters = {entry["job_cluster_key"]: entry["new_cluster"] for entry in JOB["job_clusters"]}
    versions = {task["task_key"]: clusters[task["job_cluster_key"]]["spark_version"] for task in TASKS}
    assert {name for name, version in versions.items() if "gpu" in version} == TRAINED_ON_GPUS
    assert set(versions.values()) == {"15.4.x-cpu-ml-scala2.12", "15.4.x-gpu-ml-scala2.12"}
    assert clusters["gpu"]["num_workers"] == 0
    assert clusters["gpu"]["spark_conf"]["spark.databricks.cluster.profile"] == "singleNode"


@pytest.mark.parametrize("task", TASKS, ids=[task["task_key"] for task in TASKS])
def test_a_task_is_a_command_of_the_wheel_that_gives_keys_of_the_config(task):
    wheel = task["python_wheel_task"]
    assert (wheel["package_name"], wheel["entry_point"]) == ("b2b-recommender", "recsys")
    arguments = command_parser().parse_args(given(task))
    assert arguments.command == task["task_key"]
    assert {pair.split("=")[0] for pair in arguments.set} <= set(known_keys())
    config = config_from(arguments)
    assert config.paths.processed == "/Volumes/main/recommender/data/run"
    is_first = task["task_key"] == "ingest"
    assert key_of(arguments.run) == ("417" if is_first else None)  # a task that is tried again opens no second run
    if is_first:
        assert list(config.ingest.sources) == ["/Volumes/main/recommender/data/lines"]


def test_every_task_is_retried_bounded_in_time_and_has_the_wheel():
    for task in TASKS:
        assert task["max_retries"] >= 1
        assert 0 < task["timeout_seconds"] <= JOB["timeout_seconds"]
        whl, requirements = task["libraries"]
        assert (JOB_FILE.parent / whl["whl"]).resolve() == ROOT / "dist" / "*.whl"
        assert (ROOT / requirements["requirements"].replace("${workspace.file_path}/", "")).is_file()


def test_a_task_that_is_tried_again_outwaits_the_lock_of_a_node_that_was_lost():
    runs = load_config([str(ROOT / "conf" / "databricks" / "run.yaml")]).runs
    assert runs.wait_seconds > runs.lock_seconds
    assert all(task["timeout_seconds"] > runs.wait_seconds for task in TASKS)


def test_every_parameter_and_variable_is_used_and_declared():
    text = JOB_FILE.read_text(encoding="utf-8")
    assert {entry["name"] for entry in JOB["parameters"]} == set(PARAMETER.findall(text))
    assert set(BUNDLE["variables"]) == set(VARIABLE.findall(text))
    for told in BUNDLE["targets"].values():
        assert set(told.get("variables", {})) <= set(BUNDLE["variables"])


@pytest.mark.parametrize("path", ["conf/cluster.yaml", "conf/databricks/run.yaml"])
def test_the_configs_of_clusters_are_good(path):
    config = load_config([str(ROOT / path)])
    assert "spark.master" not in config.session.conf


def test_the_key_of_pseudonyms_is_a_secret_that_can_be_uncommented_on_both_clusters():
    text = JOB_FILE.read_text(encoding="utf-8")
    for line in ("spark_env_vars:", "  RECSYS_CUSTOMER_KEY:"):
        text = text.replace(f"# {line}", line)
    job = yaml.safe_load(text)["resources"]["jobs"]["pipeline"]
    secrets = [cluster["new_cluster"]["spark_env_vars"] for cluster in job["job_clusters"]]
    assert secrets == [{"RECSYS_CUSTOMER_KEY": "{{secrets/recommender/customer_key}}"}] * 2
    run = (ROOT / "conf" / "databricks" / "run.yaml").read_text(encoding="utf-8")
    named = yaml.safe_load(run.replace("# pseudonymise", "pseudonymise"))["ingest"]["pseudonymise_key_env"]
    assert named in secrets[0]


def test_the_wheel_leaves_the_libraries_of_the_runtime_at_their_versions():
    """pip would put another in the place of one that is older than the wheel asks for."""
    lines = (ROOT / "constraints-dbr154.txt").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    runtime = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    asked = re.search(r"install_requires=\[(.*?)\n    \]", (ROOT / "setup.py").read_text(encoding="utf-8"), re.DOTALL)
    wanted = [Requirement(text) for text in re.findall(r'^ +"(.+?)"', asked[1], re.MULTILINE)]
    held = [each for each in wanted if each.name.lower() in runtime]
    assert len(held) >= 7
    assert [str(each) for each in held if not each.specifier.contains(runtime[each.name.lower()])] == []


def test_the_jobs_libraries_are_those_that_the_tests_of_the_runtime_run_with():
    pins = (ROOT / "constraints-dbr154.txt").read_text(encoding="utf-8").splitlines()
    wanted = (ROOT / "conf/databricks/requirements.txt").read_text(encoding="utf-8").splitlines()
    libraries = [line for line in wanted if not line.startswith("#")]
    assert "faiss-cpu" in [line.split("==")[0] for line in libraries]
    assert set(libraries) <= set(pins)
