"""Train one tower without Spark: `torchrun --nproc_per_node 4 -m training.retriever JOB.json`.

JOB.json holds the fields of RetrieverJob; the stage `train_retriever` leaves one beside the files that it trains from.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from training.retriever.train import RetrieverJob, train_retriever


def main() -> None:
    """Entry point; prints what training came to on the first process."""
    parser = argparse.ArgumentParser(prog="python -m training.retriever", description=__doc__)
    parser.add_argument("job", type=Path, help="a file with the fields of RetrieverJob")
    found = train_retriever(RetrieverJob.from_json(parser.parse_args().job.read_text(encoding="utf-8")))
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
