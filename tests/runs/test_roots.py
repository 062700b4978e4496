"""What may be the root of runs: an empty folder, one of artifacts, any store."""

from __future__ import annotations

import pandas as pd
import pytest

from recsys_spark.command_line import open_storage
from recsys_spark.contracts.errors import EXIT_USAGE, ConfigError
from recsys_spark.file_facts import part_entries
from recsys_spark.manifest import Manifest
from recsys_spark.paths import filesystem, put_text
from recsys_spark.runs.carry import carry
from recsys_spark.runs.root import RunRoot
from recsys_spark.stage import run_stage
from recsys_spark.storage import Storage
from tests.support.shops import NAMES, Shop
from tests.support.stores import KeptListings


def read(shop: Shop, run: str | None = None) -> str:
    return open_storage(shop.config(), run).read_json("lists.json")["first"]


def test_a_plain_folder_of_artifacts_is_one_run_and_is_worked_in_as_it_is(shop):
    storage = Storage(str(shop.root))
    for stage in shop.stages:
        run_stage(stage, shop.config(), storage)
    assert read(shop) == "A"
    shop.source.write_text("c")
    shop.run()
    assert shop.ran == list(NAMES)
    assert read(shop) == "C"
    assert not (shop.root / "runs").exists()
    with pytest.raises(ConfigError, match="is a folder of artifacts, which is one run"):
        shop.run(run="new")


def test_a_plain_folder_can_be_moved_among_the_runs(shop):
    storage = Storage(str(shop.folder / "old"))
    for stage in shop.stages:
        run_stage(stage, shop.config(), storage)
    (shop.root / "runs").mkdir(parents=True)
    (shop.folder / "old").rename(shop.root / "runs" / "20200101T000000-old1")
    (shop.root / "_recsys.json").write_text('{"format": 2}')
    assert read(shop) == "A"
    shop.run("evaluation.replicates=200")
    assert shop.ran == ["recommend"]
    assert shop.ids()[0] == "20200101T000000-old1" < shop.pointer()


def test_the_folder_of_one_run_can_be_named_as_the_root(shop):
    shop.run()
    folder = shop.root / "runs" / shop.ids()[0]
    for root in (folder, shop.root / "current"):
        config = shop.config(f"paths.processed={root}")
        assert open_storage(config).read_json("lists.json") == {"first": "A"}


def test_a_folder_that_holds_something_else_is_refused(shop):
    shop.root.mkdir()
    (shop.root / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="already holds something else") as caught:
        shop.run()
    assert caught.value.exit_code == EXIT_USAGE
    assert [path.name for path in shop.root.iterdir()] == ["letter.txt"]


def test_the_list_of_forgotten_customers_is_kept_where_all_else_was_removed(shop):
    shop.root.mkdir()
    (shop.root / "_forgotten.json").write_text("{}")
    shop.run()
    assert len(shop.ids()) == 1


def test_ids_sort_by_the_order_of_opening_even_within_a_second(tmp_path):
    root = RunRoot(str(tmp_path / "root"))
    root.create()
    made = [root.create_run("clean", None).id for _ in range(5)]
    assert made == sorted(made)
    assert len(set(made)) == 5


def test_runs_work_on_a_store_without_links(shop):
    config = [f"paths.processed=memory://{shop.folder.name}/root"]
    shop.run(*config)
    shop.run(*config, "evaluation.replicates=200")
    assert shop.ran == ["recommend"]
    root = RunRoot(f"memory://{shop.folder.name}/root")
    old, new = root.runs()
    assert root.current().id == new.id
    assert (new.based_on, new.is_complete, old.is_complete) == (old.id, True, True)


def test_the_parts_of_a_table_are_carried_over_on_a_store_to_where_the_table_lies(tmp_path):
    old, new = (Storage(f"memory://{tmp_path.name}/runs/{name}") for name in ("old", "new"))
    fs, place = filesystem(f"{old.root}/lines.parquet")
    for number in range(2):
        pd.DataFrame({"line": [number]}).to_parquet(tmp_path / "part.parquet")
        fs.put_file(str(tmp_path / "part.parquet"), f"{place}/part-{number}.parquet")
    files = part_entries(fs, place, None)
    made = Manifest("lines.parquet", "table", "ingest", "line bigint", 2, sum(file.bytes for file in files), "2", files)
    put_text(made.to_json(), f"{old.root}/lines.parquet.manifest.json")
    old.write_stage_record("ingest", {"outputs": {"lines.parquet": "2"}})
    assert carry("ingest", old, new)
    assert new.require("lines.parquet") == made
    copied = f"{filesystem(new.root)[1]}/lines.parquet"
    assert fs.find(copied) == [f"{copied}/part-0.parquet", f"{copied}/part-1.parquet"]


def test_the_run_that_another_process_made_is_seen_on_a_store_whose_listings_are_kept(shop):
    root = "kept://shop/root"
    first, second = RunRoot(root), RunRoot(root)
    first.create()
    assert second.runs() == []
    made = first.create_run("ingest", None)
    assert KeptListings().ls("/shop/root/runs")
    also = first.create_run("ingest", None)
    assert [run.id for run in second.runs()] == [made.id, also.id]
    first.fs.invalidate_cache()
    first.fs.rm("/shop", recursive=True)
