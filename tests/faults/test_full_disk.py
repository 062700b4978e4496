"""A full disk, below the root or under Spark's scratch files: the run says so, and goes on once there is space."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recsys_spark.paths import filesystem
from recsys_spark.small_files import create_whole, write_whole
from tests.faults.artifacts import differing
from tests.faults.conftest import STAGES
from tests.faults.fault_shop import FaultShop

pytestmark = [pytest.mark.faults, pytest.mark.slow]

FULL = "error: no space left on a disk: make room where paths.processed and spark.local.dir (/tmp without it) lie"


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own at the folder.

    Skipped where mounting is refused, on a machine of CI too: that may be a container, whose root may not mount, and
    nothing that can be installed changes it.
    """
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted, which a container may refuse root too: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=256m", str(folder)], check=True)


@pytest.mark.spark
@pytest.mark.parametrize("filled", ["root", "scratch"])
def test_a_full_disk_ends_the_run_with_one_line_and_with_space_the_command_goes_on(undisturbed, tmp_path, filled):
    with disk(tmp_path / "small", "120k" if filled == "root" else "60k") as small:
        shop = FaultShop(undisturbed.folder, (small if filled == "root" else tmp_path) / "root")
        scratch = small if filled == "scratch" else tmp_path
        words = ("run", "--to", STAGES[-1], "--set", f"session.conf={{spark.local.dir: {scratch}}}")
        failed = shop.finish(*words)
        assert failed.process.returncode == 1, failed.said[-3000:]
        assert failed.last_line.startswith(FULL)
        assert "Traceback" not in failed.said
        assert shop.document("run.json")["outcome"].startswith("failed: no space left on a disk")
        published = shop.published()
        assert 0 < len(published) < 4
        assert shop.half_published() == []
        assert not (shop.run / "_lock.json").exists()
        assert list(shop.run.rglob("_staging")) == []
        enlarge(small)
        done = shop.finish(*words)
        assert done.process.returncode == 0, done.said[-3000:]
        assert done.started == STAGES[len(published) :]
        assert differing(undisturbed.contents(), shop.contents()) == []


def test_a_small_file_that_finds_no_space_leaves_the_old_one_and_nothing_beside_it(tmp_path):
    with disk(tmp_path / "small", "64k") as small:
        fs, base = filesystem(str(small))
        write_whole(fs, f"{base}/run.json", b"old")
        with pytest.raises(OSError, match="No space left on device"):
            (small / "filler").write_bytes(b"x" * (1 << 20))
        with pytest.raises(OSError, match="No space left on device"):
            write_whole(fs, f"{base}/run.json", b"new" * 1000)
        with pytest.raises(OSError, match="No space left on device"):
            create_whole(fs, f"{base}/_lock.json", b"me")
        assert (small / "run.json").read_bytes() == b"old"
        assert sorted(path.name for path in small.iterdir()) == ["filler", "run.json"]
