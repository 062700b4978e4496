"""Where an artifact comes from, back to the source files."""

from __future__ import annotations

import argparse
import json

from recsys_spark.command_line import config_from, main_command, reading_arguments, storage_of
from recsys_spark.runs.lineage import lineage, lineage_tree, lineage_values


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument("artifact", help="such as recommendations, evaluation.json or fit=val/ranker_best.pt")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return reading_arguments(parser)


def show_lineage(arguments: argparse.Namespace) -> None:
    """Print the lineage of an artifact as a tree, or with --json as a mapping."""
    found = lineage(storage_of(config_from(arguments).paths.processed, run=arguments.run), arguments.artifact)
    print(json.dumps(lineage_values(found), indent=1, ensure_ascii=False) if arguments.json else lineage_tree(found))


if __name__ == "__main__":
    main_command(show_lineage, add_arguments)
