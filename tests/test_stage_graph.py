"""The stages fit together: what a stage reads was written before, and what it declares is what it uses."""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import fields

import pytest

from jobs.pipeline import BESIDE, STAGES
from recsys_spark.contracts.artifacts import ARTIFACTS
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.stages import STAGE_NAMES

SECTIONS = {field.name for field in fields(PipelineConfig)}
UNDECLARED = {"seed", "paths", "session"}  # recorded apart, or no matter to what comes out
EVERY = STAGES + BESIDE
each_stage = pytest.mark.parametrize("stage", EVERY, ids=lambda stage: stage.name)


def test_stages_have_names_of_their_own():
    names = [stage.name for stage in EVERY]
    assert len(names) == len(set(names)) > 0


def test_the_names_of_the_stages_are_those_that_runs_are_judged_by():
    assert tuple(stage.name for stage in STAGES) == STAGE_NAMES


def test_every_read_was_written_by_an_earlier_stage():
    # A stage that is run by its name alone may have been run before: others ask whether it was.
    written = {artifact.name for stage in BESIDE for artifact in stage.writes}
    for stage in EVERY:
        unwritten = {artifact.name for artifact in stage.reads} - written
        assert not unwritten, f"stage '{stage.name}' reads {unwritten}, which no earlier stage writes"
        written |= {artifact.name for artifact in stage.writes}


def test_every_artifact_has_one_writer():
    # What is kept by model, the stage that fits the model writes.
    writes = [artifact.name for stage in EVERY for artifact in stage.writes if "model" not in artifact.keys]
    assert sorted(writes) == sorted(set(writes))


def test_every_registered_artifact_has_a_writer():
    assert {artifact.name for stage in EVERY for artifact in stage.writes} == set(ARTIFACTS)


@each_stage
def test_a_stage_lies_in_the_job_of_its_name(stage):
    assert stage.run.__module__ == f"jobs.{stage.name}"
    assert importlib.import_module(stage.run.__module__).STAGE is stage


@each_stage
def test_declared_sections_are_those_the_job_uses(stage):
    source = inspect.getsource(importlib.import_module(stage.run.__module__))
    used = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config"
    }
    assert set(stage.sections) == (used & SECTIONS) - UNDECLARED
    assert used <= SECTIONS, f"{stage.run.__module__} uses config.{used - SECTIONS}"


@each_stage
def test_config_reaches_other_modules_by_section_only(stage):
    """A function elsewhere that got the whole config could use a section that the stage does not declare."""
    tree = ast.parse(inspect.getsource(importlib.import_module(stage.run.__module__)))
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    passed = [
        f"line {call.lineno}"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and not (isinstance(call.func, ast.Name) and call.func.id in own)
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(argument, ast.Name) and argument.id == "config"
    ]
    assert passed == []
