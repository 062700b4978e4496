"""Build what is shipped, into dist/: the wheel, the zip for `spark-submit --py-files`, and the file that is submitted.

    python -m jobs.dist [--packed all|light]

--packed adds environment.tar.gz for `--archives`: `all` holds PyTorch with its CUDA libraries, some gigabytes; `light`
does without PyTorch and Petastorm, for runs without towers and without a ranker. Either wants the same Python at the
same path on every node.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

ROOT = Path(__file__).parents[1]
DIST, BUILD = ROOT / "dist", ROOT / "build"
ZIP, ENTRY, ENVIRONMENT = "b2b_recommender.zip", "recsys.py", "environment.tar.gz"
PACKAGES = ("jobs", "recsys_spark", "training")
EXTRAS = {"all": "cpu,gbdt,neural,spark", "light": "cpu,gbdt,spark"}


def write_zip(target: Path) -> None:
    """Zip the project's packages. Nothing of conf/ is needed: the defaults are those of the dataclasses."""
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for package in PACKAGES:
            templates = (ROOT / package).rglob("templates/*")
            for source in sorted([*(ROOT / package).rglob("*.py"), *templates]):
                archive.write(source, source.relative_to(ROOT))


def build_wheel(folder: Path) -> Path:
    """The wheel, built from the sources alone: build/lib may hold modules that are gone."""
    shutil.rmtree(BUILD / "lib", ignore_errors=True)
    _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    [wheel] = folder.glob("*.whl")
    return wheel


def pack_environment(wheel: Path, target: Path, extras: str) -> None:
    """An archive of a new environment with the wheel and its extras, at the versions of constraints.txt."""
    folder = BUILD / "packed"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    _pip(str(folder / "bin" / "python"), "install", "-c", str(ROOT / "constraints.txt"), f"{wheel}[{extras}]")
    command = [
        sys.executable,
        "-m",
        "venv_pack",
        "--prefix",
        str(folder),
        "--output",
        str(target),
        "--force",
        "--quiet",
    ]
    subprocess.run(command, check=True)
    shutil.rmtree(folder)


def _pip(python: str, *words: str) -> None:
    # -I: with the sources on PYTHONPATH, whose egg-info says that they are installed, pip would leave the wheel out.
    command = [python, "-I", "-m", "pip", words[0], "-qq", "--disable-pip-version-check", *words[1:]]
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", choices=tuple(EXTRAS), help="also environment.tar.gz")
    packed = parser.parse_args().packed
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    wheel = build_wheel(DIST)
    write_zip(DIST / ZIP)
    shutil.copy(ROOT / "jobs" / "pipeline.py", DIST / ENTRY)
    if packed:
        pack_environment(wheel, DIST / ENVIRONMENT, EXTRAS[packed])
    for path in sorted(DIST.iterdir()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
