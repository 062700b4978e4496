"""Damaged artifacts are found before they are used and named, and the stage that wrote them repairs them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.pipeline import console
from tests.faults.artifacts import differing
from tests.faults.conftest import STAGES
from tests.faults.fault_shop import FaultShop

pytestmark = [pytest.mark.faults, pytest.mark.slow]

DAMAGED = "interactions_clean.parquet"


def removed(part: Path) -> None:
    part.unlink()


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-1])


def flipped(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)


@dataclass
class Told:
    """How a command in this process ended: its exit code, its last line, and the stages that it ran."""

    code: int
    last_line: str
    started: list[str]


@dataclass
class Here:
    """Gives commands in this process, which have the tests' Spark session."""

    shop: FaultShop
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    caplog: pytest.LogCaptureFixture

    def __call__(self, *words: str) -> Told:
        self.caplog.clear()
        self.monkeypatch.setattr(sys, "argv", ["recsys", *words, *self.shop.options])
        code = 0
        try:
            console()
        except SystemExit as left:
            code = int(left.code)
        lines = self.capsys.readouterr().err.strip().splitlines()
        started = [line.split(":")[0] for line in self.caplog.messages if line.endswith(": started")]
        return Told(code, (lines or [""])[-1], started)


@pytest.fixture
def shop(undisturbed, tmp_path) -> FaultShop:
    """A copy of the finished root, over lines of the same name."""
    shutil.copytree(undisturbed.root, tmp_path / "root", symlinks=True)
    return FaultShop(undisturbed.folder, tmp_path / "root")


@pytest.fixture
def recsys(shop, monkeypatch, capsys, caplog) -> Here:
    return Here(shop, monkeypatch, capsys, caplog)


def damage(shop: FaultShop, how: Callable[[Path], None]) -> str:
    """Damage one part file; returns its name."""
    part = min((shop.run / DAMAGED).glob("*.parquet"))
    how(part)
    return part.name


@pytest.mark.parametrize(
    ("how", "verify"), [(removed, "size"), (cut, "size"), (flipped, "full")], ids=["removed", "cut", "flipped"]
)
def test_a_damaged_part_file_is_named_with_exit_3_before_it_is_used_and_its_stage_repairs_it(
    recsys, shop, undisturbed, tmp_path, how, verify
):
    part = damage(shop, how)
    for words in (
        ("entities", "--force"),
        ("export", DAMAGED.removesuffix(".parquet"), "--out", str(tmp_path / "x")),
    ):
        told = recsys(*words, "--verify", verify)
        assert told.code == 3
        assert DAMAGED in told.last_line
        assert part in told.last_line
        assert told.last_line.endswith("run stage 'clean' again with --force")
    assert not (tmp_path / "x").exists()
    assert recsys("clean", "--force").code == 0
    assert recsys("entities", "--force", "--verify", "full").code == 0
    assert differing(undisturbed.contents(), shop.contents()) == []


def test_a_line_that_is_added_to_a_source_file_makes_ingest_stale_and_everything_after_it(
    recsys, shop, undisturbed, tmp_path
):
    more = FaultShop(tmp_path, shop.root)
    recsys.shop = more
    lines = (undisturbed.folder / "shop.csv").read_text()
    (tmp_path / "shop.csv").write_text(lines)
    words = ("run", "--to", STAGES[-1])
    assert recsys(*words).started[:1] == ["ingest"]  # the lines lie elsewhere now
    assert recsys(*words).started == []
    (tmp_path / "shop.csv").write_text(f"{lines}77,10001,item,1,2011-04-01,5,01,UK\n")
    assert recsys(*words).started == STAGES
    funnel = more.document("cleaning_report.json")["funnel"]
    assert (funnel["lines_read"], funnel["lines_kept"]) == (406, 402)
