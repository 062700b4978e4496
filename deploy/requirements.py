"""Print what a wheel of the project wants: with extras, and without packages that an environment does without.

    python -m deploy.requirements dist/b2b_recommender-0.1.0-py3-none-any.whl --extras cpu,gbdt --without torch

An environment for executors, one for Spark 4 and one with an older runtime's versions are made of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from email.parser import HeaderParser
from zipfile import ZipFile

from packaging.requirements import Requirement


def requirements_of(wheel: str) -> list[str]:
    """The requirements that a wheel states, those of its extras with their marker."""
    with ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist") or []


def chosen(stated: Iterable[str], extras: Collection[str], without: Collection[str]) -> list[str]:
    """Those that hold on this Python with the extras, their markers dropped.

    >>> chosen(["a>=1", "b<2; extra == 'cpu'", "c; extra == 'dev'", "d"], extras=["cpu"], without=["d"])
    ['a>=1', 'b<2']
    """
    found = []
    for requirement in map(Requirement, stated):
        holds = requirement.marker is None or any(requirement.marker.evaluate({"extra": name}) for name in ("", *extras))
        if holds and requirement.name not in without:
            found.append(f"{requirement.name}{requirement.specifier}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel")
    parser.add_argument("--extras", default="", help="names with commas between them")
    parser.add_argument("--without", default="", help="packages left out, likewise")
    arguments = parser.parse_args()
    print(*chosen(requirements_of(arguments.wheel), arguments.extras.split(","), arguments.without.split(",")), sep="\n")


if __name__ == "__main__":
    main()
