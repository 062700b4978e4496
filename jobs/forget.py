"""Forget customers: no row of them stays below the root, and later runs over the same sources leave them out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from recsys_spark.command_line import common_arguments, config_from, main_command
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ArtifactError, ConfigError
from recsys_spark.privacy.customer_ids import is_pseudonym, key_fingerprint, key_of, normal_id, pseudonym
from recsys_spark.privacy.forgotten import LIST, add_forgotten
from recsys_spark.privacy.removal import Removed, remove, require_runs
from recsys_spark.privacy.search import Search, Wanted, search
from recsys_spark.runs.lock import LockRules
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.undisturbed import undisturbed
from recsys_spark.session import get_session
from recsys_spark.storage import Storage


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments of this job."""
    parser.add_argument(
        "--customer", action="append", required=True, metavar="ID", help="as the source shows it; may be repeated"
    )
    return common_arguments(parser)


def forget(arguments: argparse.Namespace) -> None:
    """Remove, search, and say what was done.

    Raises ArtifactError where something of a customer is left, or may be under a name that cannot be told from here,
    and LockedError where another process works below the root.
    """
    config = config_from(arguments)
    root = config.paths.processed
    storage = Storage(root, get_session(config.session))
    require_runs(storage)
    wanted = wanted_ids(arguments.customer, config)
    # The lock lies below the root, so it may not hold the command line, which names the customers.
    with undisturbed(RunRoot(root), LockRules(config.runs.lock_seconds), "recsys forget"):
        added = add_forgotten(root, arguments.customer)
        removed = remove(storage, wanted)
    found = search(storage.spark, root, wanted)
    unknown = folders_of_another_key(removed, arguments.customer, config)
    print("\n".join(_told(len(set(arguments.customer)), added, root, removed, found, unknown, arguments.config)))
    if config.tracking.kind == "mlflow":
        print(
            f"not changed: what MLflow was sent (experiment '{config.tracking.experiment}'): report.html of a run shows"
        )
        print("  customers by their ids; delete the runs there")
    if found.left:
        raise ArtifactError(
            f"something is left below {root}, in {len(found.left)} places named above; remove these files, and run the "
            "same command again"
        )
    if unknown:
        raise ArtifactError(
            f"the customers of {', '.join(unknown)} go by pseudonyms of a key that is not here, so they may hold these "
            "customers still: set ingest.pseudonymise_key_env and its variable as they were for 'ingest', or give the "
            "pseudonyms, and run the same command again"
        )


def wanted_ids(customers: Sequence[str], config: PipelineConfig) -> Wanted:
    """What artifacts may call the customers: by their ids and, where there is a key, by their pseudonyms."""
    ids = [normal_id(text) for text in customers]
    if not all(ids):
        raise ConfigError("--customer takes an id as the source shows it, got a blank one")
    key = key_of(config.ingest)
    return Wanted(tuple(dict.fromkeys([*ids, *(pseudonym(key, text) for text in ids if key is not None)])))


def folders_of_another_key(removed: Sequence[Removed], customers: Sequence[str], config: PipelineConfig) -> list[str]:
    """Run folders in which the customers go by names that follow from no id given here: by pseudonyms of another key.

    Empty where only pseudonyms were given.
    """
    key = key_of(config.ingest)
    known = (None, key_fingerprint(key) if key is not None else None)
    return [] if all(map(is_pseudonym, customers)) else [each.folder for each in removed if each.key not in known]


def _told(
    customers: int,
    added: int,
    root: str,
    removed: Sequence[Removed],
    found: Search,
    unknown: Sequence[str],
    overlays: Sequence[str],
) -> list[str]:
    """What was done, what was searched, what to run, and what is not the product's. No id is among it."""
    touched = [each for each in removed if each.deleted or each.lines]
    lines = [f"customers: {customers}, {added} of them new on the list {LIST} of {root}"]
    for each in touched:
        lines.append(f"{each.folder}: {each.lines:,} lines taken out of raw_lines, {len(each.deleted)} others deleted:")
        lines.append(f"  {', '.join(each.deleted) or 'none'}")
    lines.append("" if touched else "no run below the root held them")
    lines.append(f"searched: every file below {root}, {found.files:,} of them, {found.bytes:,} bytes, in")
    lines.append(f"  {', '.join(each.folder for each in removed)}")
    lines.append("  Parquet decoded, .gz and zip (.xlsx, .npz, .pt) unpacked, names of files too")
    left = [*found.left, *(f"{folder}, where customers go by pseudonyms of another key" for folder in unknown)]
    lines += [f"LEFT: {place}" for place in left] or ["found: nothing of them"]
    lines += [f"the same text, as something else by all appearance: {place}" for place in found.alike]
    options = "".join(f" --config {path}" for path in overlays)
    if touched:
        lines.append(f"rebuild: recsys{options}               (reads the source files again, without these customers)")
        lines.append(f"     or: recsys{options} --from clean  (from raw_lines as it is now)")
    sources = sorted({source for each in removed for source in each.sources})
    lines.append("not changed: the source files. They are yours, and hold the customers for as long as they lie there:")
    lines.append(f"  {', '.join(sources) or 'none is on record'}")
    return [line for line in lines if line]


if __name__ == "__main__":
    main_command(forget, add_arguments)
