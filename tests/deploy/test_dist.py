"""What is shipped holds all of the code and runs without the sources beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from zipfile import ZipFile

import pytest

from jobs.dist import ENVIRONMENT, EXTRAS, PACKAGES, ROOT, build_wheel, pack_environment, write_zip
from jobs.pipeline import STAGES
from recsys_spark.code_version import code_digest

SOURCES = {
    str(path.relative_to(ROOT))
    for package in PACKAGES
    for kind in ("*.py", "templates/*")
    for path in (ROOT / package).rglob(kind)
}


def test_the_zip_holds_every_module_with_its_templates_and_nothing_else(tmp_path):
    write_zip(tmp_path / "code.zip")
    with ZipFile(tmp_path / "code.zip") as archive:
        assert set(archive.namelist()) == SOURCES
    assert len(SOURCES) > 150


def test_python_runs_from_the_zip_with_the_digests_of_the_sources(tmp_path):
    write_zip(tmp_path / "code.zip")
    code = "import sys; sys.path.insert(0, sys.argv[1])\n"
    code += "from jobs.pipeline import STAGES; import recsys_spark.code_version as version\n"
    code += "print(version.__file__, *(version.code_digest(stage.module) for stage in STAGES))"
    command = [sys.executable, "-c", code, str(tmp_path / "code.zip")]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    file, *digests = answer.stdout.split()
    assert file == str(tmp_path / "code.zip" / "recsys_spark" / "code_version.py")
    assert digests == [code_digest(stage.module) for stage in STAGES]


@pytest.mark.slow
def test_the_wheel_holds_every_module_starts_recsys_and_leaves_spark_and_torch_to_the_cluster(tmp_path):
    wheel = build_wheel(tmp_path)
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {name for name in names if ".dist-info/" not in name} == SOURCES
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
        [entries] = [archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")]
    assert "recsys = jobs.pipeline:console" in entries
    wanted = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert len(wanted) > 8
    assert not [line for line in wanted if line.split()[1].startswith(("pyspark", "torch", "petastorm"))]


@pytest.mark.slow
def test_a_packed_environment_runs_recsys_and_its_libraries_from_where_it_is_unpacked(tmp_path):
    pytest.importorskip("venv_pack")
    archive, unpacked = tmp_path / ENVIRONMENT, tmp_path / "environment"
    pack_environment(build_wheel(tmp_path), archive, EXTRAS["light"])
    with tarfile.open(archive) as packed:
        packed.extractall(unpacked)  # as Spark does with --archives; no script activates anything
    code = "import faiss, lightgbm, pyarrow, pyspark, jobs.pipeline\n"
    code += "print(*(module.__file__ for module in (faiss, lightgbm, pyarrow, pyspark, jobs.pipeline)), sep='\\n')"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    answer = subprocess.run(
        ["environment/bin/python", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=clean, check=False
    )
    assert answer.returncode == 0, answer.stderr
    files = answer.stdout.split()
    assert len(files) == 5
    assert all(file.startswith(f"{unpacked}/lib/") for file in files)
