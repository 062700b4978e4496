"""The README says what is so: its commands exist, its config is the shipped one, its artifacts are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from jobs.pipeline import command_parser
from recsys_spark.contracts.artifacts import ARTIFACTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line[:5] in (".venv", "make ")
]


def test_the_readme_holds_commands():
    assert len(COMMANDS) >= 6


def test_every_make_target_it_names_exists():
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", README, flags=re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named
    assert named <= targets


def test_every_recsys_command_it_names_can_be_parsed():
    words = [shlex.split(command)[1:] for command in COMMANDS if command.startswith(".venv/bin/recsys")]
    assert len(words) >= 4
    for each in words:
        assert command_parser().parse_args(each if not each[0].startswith("-") else ["run", *each])


def test_every_job_and_config_it_names_exists():
    for path in re.findall(r"\b(?:jobs|conf)/[\w/.-]+\.(?:py|yaml)", README):
        assert (ROOT / path).exists() or path == "conf/mine.yaml", path


def test_its_config_is_the_shipped_one():
    (shown,) = [block for block in BLOCKS if "processed:" in block]
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "conf" / "workbook.yaml").read_text(encoding="utf-8"))


def test_it_names_every_artifact():
    missing = [
        artifact.path
        for artifact in ARTIFACTS.values()
        if artifact.path.removesuffix(".parquet") not in README and artifact.name not in README
    ]
    assert missing == []
