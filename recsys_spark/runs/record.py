"""run.json: what a run is, what was done in it, and how it ended."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from recsys_spark.code_version import __version__
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.manifest import digest_of
from recsys_spark.small_files import read_json, write_whole

RECORD = "run.json"
_SECRET = re.compile(r"(?i)secret|password|passwd|token|credential|access[._-]?key|account[._-]?key|api[._-]?key")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HIDDEN = "(hidden)"


@dataclass(frozen=True)
class RunRecord:
    """A run. Times are ISO in UTC, empty for what did not happen yet.

    goal: the last stage that must be published before the run is complete. based_on: the run whose fresh stages were
    carried over. command, started, ended, outcome, config, libraries, code: of the last command that worked in it;
    outcome: running, done, interrupted, or `failed: ` and why. stages: by name, what was last done (see
    `stage_facts`). commands: all that worked in it, the first first. tracking: the run of MLflow that tells of this
    one, and a digest of the settings that it was opened with.
    """

    id: str
    goal: str
    based_on: str | None
    opened: str
    completed: str = ""
    removed: str = ""
    command: str = ""
    started: str = ""
    ended: str = ""
    outcome: str = ""
    config_digest: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    commands: list[dict[str, Any]] = field(default_factory=list)
    tracking: dict[str, str] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every stage up to the goal was once published; later work in it changes nothing about that."""
        return bool(self.completed)


def read_record(fs: AbstractFileSystem, folder: str) -> RunRecord | None:
    """run.json of a folder, None where there is none or where it is no record."""
    values = read_json(fs, f"{folder}/{RECORD}")
    known = {field.name for field in dataclasses.fields(RunRecord)}
    try:
        return RunRecord(**{name: value for name, value in (values or {}).items() if name in known})
    except TypeError:
        return None


def write_record(fs: AbstractFileSystem, folder: str, record: RunRecord) -> None:
    """Replace run.json of a folder."""
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False)
    write_whole(fs, f"{folder}/{RECORD}", text.encode())


def config_values(config: PipelineConfig) -> dict[str, Any]:
    """All values of a config; those that look like secrets are hidden."""
    values: dict[str, Any] = json.loads(_LOGIN.sub(_HIDDEN, json.dumps(dataclasses.asdict(config))))
    conf = values["session"]["conf"]
    values["session"]["conf"] = {key: _HIDDEN if _SECRET.search(key) else value for key, value in conf.items()}
    return values


def config_digest(config: PipelineConfig) -> str:
    """Digest of all values of a config."""
    return digest_of(dataclasses.asdict(config))


def spoken_command(words: Sequence[str]) -> str:
    """A command line as it may be kept: words that look like secrets are hidden.

    >>> spoken_command(["/venv/bin/recsys", "run", "--set", "session.conf={fs.s3a.secret.key: x}"])
    'recsys run --set session.conf=(hidden)'
    >>> spoken_command(["/venv/bin/recsys", "--set=session.conf={fs.s3a.secret.key: x}"])
    'recsys --set=session.conf=(hidden)'
    """
    name, *rest = words or ["python"]
    return " ".join([Path(name).name, *(_without_secrets(word) for word in rest)])


def code_facts() -> dict[str, Any]:
    """Version of the project and, where it runs from a git checkout, the commit and whether files differ from it."""
    top, facts = Path(__file__).parents[2], {"version": __version__}
    if not (top / ".git").exists():
        return facts
    try:
        commit, changed = (_git(top, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    except (OSError, subprocess.SubprocessError):
        return facts
    return {**facts, "commit": commit, "is_changed": bool(changed)}


def _without_secrets(word: str) -> str:
    option, pair = ("--set=", word[len("--set=") :]) if word.startswith("--set=") else ("", word)
    key, _, _ = pair.partition("=")
    is_secret = key.startswith("session.conf") and _SECRET.search(pair)
    return f"{option}{key}={_HIDDEN}" if is_secret else _LOGIN.sub(_HIDDEN, word)


def _git(top: Path, *words: str) -> str:
    command = ["git", "-C", str(top), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
