"""Kill runs on a tenth of the demo at random moments, give the same command again, and compare what is left in the end.

Each start of `recsys run` is killed after a random time, by turns of chance with all its processes or the driver alone.
One that is done before is compared with an undisturbed run, and a fresh root follows. Ends with 1 where anything was
lost, made twice, or made otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from jobs.demo_data import FILES, write_demo_data
from recsys_spark.contracts.stages import STAGE_NAMES
from tests.faults.artifacts import contents, differing
from tests.faults.command import REPOSITORY, Command, recsys
from tests.support.sessions import short_lived_jvm

_SMALL = (
    "retriever.all={dim: 16, max_epochs: 1}",
    "candidates.train_queries=800",
    "ranker.max_epochs=1",
    "ranker.hidden=16",
    "evaluation.replicates=100",
)
_BEFORE_THE_FIRST_STAGE = 15.0  # seconds that a start takes at most on a quiet machine
_PATIENCE_GROWS = 1.3  # with each kill in a row that came before a further stage, for a machine that others slow down


@dataclass
class Counts:
    """What came of the kills. resumed: those after which the same command made no published stage anew, and went on."""

    kills: int = 0
    resumed: int = 0
    lost_lines: int = 0
    differing: int = 0

    @property
    def is_clean(self) -> bool:
        return self.resumed == self.kills and not self.lost_lines and not self.differing

    def __str__(self) -> str:
        return (
            f"kills {self.kills}, resumed {self.resumed}, lost lines {self.lost_lines}, "
            f"differing artifacts {self.differing}"
        )


@dataclass(frozen=True)
class Demo:
    """The sampled lines, and roots below one folder."""

    folder: Path

    def words(self, root: Path) -> list[str]:
        """The command that is given again and again."""
        tables = {name.removesuffix(".csv"): self.folder / name for name in FILES}
        pairs = [f"ingest.tables.{name}={path}" for name, path in tables.items()]
        session = f'{{spark.driver.extraJavaOptions: "{short_lived_jvm()}"}}'  # dozens of JVMs, of a minute each
        pairs += [f"paths.processed={root}", f"session.conf={session}", *_SMALL]
        config = str(REPOSITORY / "conf" / "demo.yaml")
        return ["run", "--config", config, *(word for pair in pairs for word in ("--set", pair))]

    def finished(self, root: Path) -> Command:
        """A start that is left in peace. Ends this process where it fails."""
        with recsys(self.folder, *self.words(root)) as command:
            code = command.process.wait()
        if code:
            sys.exit(f"error: an undisturbed start ended with {code}: {command.last_line} (all of it in {command.err})")
        return command


def write_sample(data: Path, folder: Path, share: float) -> int:
    """Write the demo's files with a share of the customers, chosen by hash; returns the number of lines."""
    write_demo_data(data)
    for name in FILES:
        as_text = pa_csv.ConvertOptions(column_types={"customer_id": pa.string()})
        table = pa_csv.read_csv(data / name, convert_options=as_text)
        if "customer_id" in table.column_names:
            known = table["customer_id"].unique().to_pylist()
            chosen = [customer for customer in known if zlib.crc32(customer.encode()) % 10_000 < share * 10_000]
            table = table.filter(pc.is_in(table["customer_id"], pa.array(chosen)))
        pa_csv.write_csv(table, folder / name)
    return int(table.num_rows)


def run_of(root: Path) -> Path | None:
    """The only run of a root, None where there is none yet."""
    runs = list((root / "runs").glob("*/run.json"))
    assert len(runs) <= 1, f"one command made {len(runs)} runs in {root}"
    return runs[0].parent if runs else None


def published(root: Path) -> list[str]:
    run = run_of(root)
    return [name for name in STAGE_NAMES if run and (run / "_stages" / f"{name}.json").exists()]


def lines_of(run: Path) -> list[int]:
    funnel = json.loads((run / "cleaning_report.json").read_text())["funnel"]
    return [funnel[name] for name in ("lines_read", "lines_kept", "lines_rejected")]


def compared(reference: Path, expected: dict[str, Any], root: Path, counts: Counts) -> None:
    """Add what a finished root has lost, and what is different in it."""
    run = run_of(root)
    assert run is not None
    counts.lost_lines += sum(abs(a - b) for a, b in zip(lines_of(reference), lines_of(run), strict=True))
    found = differing(expected, contents(run))
    counts.differing += len(found)
    print(f"a run is done: {len(expected)} artifacts, differing {found or 'none'}; {counts}", flush=True)


def soak(demo: Demo, kills: int, seed: int) -> Counts:
    """Kill until it was enough; the last run is ended in peace."""
    draw, counts = random.Random(seed), Counts()
    began = time.monotonic()
    demo.finished(demo.folder / "undisturbed")
    reference = run_of(demo.folder / "undisturbed")
    assert reference is not None
    expected = contents(reference)
    stages = json.loads((reference / "run.json").read_text())["stages"]
    longest = max(stage["seconds"] for stage in stages.values())
    print(f"undisturbed: {time.monotonic() - began:.0f} s, the longest stage {longest:.0f} s", flush=True)
    # undecided: kills since a start last came to a stage
    root, undecided, passes, in_vain = demo.folder / "killed0", 0, 0, 0
    while counts.kills < kills or undecided:
        before = published(root)
        with recsys(demo.folder, *demo.words(root)) as command:
            span = (_BEFORE_THE_FIRST_STAGE + 2 * longest) * _PATIENCE_GROWS**in_vain
            ended = waited(command, None if counts.kills == kills else draw.uniform(0, span))
            if not ended:
                draw.choice((command.kill_everything, command.kill_driver))()
        if ended or command.started:  # one killed before its first stage shows nothing: the next start does
            counts.resumed += undecided * goes_on(before, command.started, command.process.returncode if ended else 0)
            undecided = 0
        if not ended:
            counts.kills, undecided = counts.kills + 1, undecided + 1
            after = published(root)
            in_vain = in_vain + 1 if after == before else 0
            print(f"kill {counts.kills}: {len(before)} stages were there, {len(after)} are", flush=True)
        elif command.process.returncode:
            sys.exit(f"error: ended with {command.process.returncode}: {command.last_line} (all in {command.err})")
        else:
            compared(reference, expected, root, counts)
            shutil.rmtree(root)
            passes, in_vain = passes + 1, 0
            root = demo.folder / f"killed{passes}"
    return counts


def goes_on(before: list[str], started: list[str], code: int) -> bool:
    """Whether a start began with the first stage that was not published before it, and did not fail.

    >>> goes_on(["ingest"], ["clean", "entities"], 0), goes_on(["ingest"], ["ingest", "clean"], 0)
    (True, False)
    >>> goes_on(list(STAGE_NAMES), [], 0), goes_on(["ingest"], [], 0)  # all was there; nothing was done
    (True, False)
    """
    left = [name for name in STAGE_NAMES if name not in before]
    return code == 0 and started[:1] == left[:1]


def waited(command: Command, seconds: float | None) -> bool:
    """Whether the command ended within so many seconds."""
    give_up = time.monotonic() + seconds if seconds is not None else float("inf")
    while command.process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.05)
    return command.process.poll() is not None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--share", type=float, default=0.1, help="of the demo's customers")
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="folder of the demo's CSVs")
    parser.add_argument("--work", type=Path, default=Path("data/soak"), help="folder for runs; made anew")
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    print(f"{write_sample(given.data, given.work, given.share):,} lines", flush=True)
    result = soak(Demo(given.work.resolve()), given.kills, given.seed)
    print(result)
    sys.exit(0 if result.is_clean else 1)
