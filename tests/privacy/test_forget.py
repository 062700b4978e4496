"""A forgotten customer is in no byte below the root, and does not come back."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from jobs import clean, ingest
from recsys_spark.contracts import artifacts
from recsys_spark.contracts.artifacts import ARTIFACTS, CUSTOMER_ID_MAP, INGEST_REPORT, INTERACTIONS_CLEAN, RAW_LINES
from recsys_spark.contracts.errors import EXIT_DATA, ArtifactError, ConfigError
from recsys_spark.contracts.load_config import load_config
from recsys_spark.privacy import forgotten, removal
from recsys_spark.privacy.customer_ids import pseudonym
from recsys_spark.privacy.entry import CustomerEntry
from recsys_spark.privacy.forgotten import LIST, Forgotten, SaltedHashes, add_forgotten, load_forgotten
from recsys_spark.privacy.holders import holds_customers, labels_with_customers
from recsys_spark.runs.lock import LockRules
from recsys_spark.runs.root import RunRoot
from recsys_spark.runs.undisturbed import undisturbed
from recsys_spark.stage import run_stage
from recsys_spark.storage import MARKER, Storage
from tests.privacy.every_byte import places_of
from tests.privacy.forget_shop import GONE, OTHERS, pairs_for, run_forget, run_stages, write_shop
from tests.support.frames import column

KEY, VARIABLE = "thirty-two random letters, say..", "RECSYS_TEST_KEY"


@pytest.fixture
def storage(spark, copied) -> Storage:
    return Storage(str(copied / "run"), spark)


def leave_files(storage: Storage) -> None:
    """A tower's vectors, a workbook, a checkpoint and a half-written table, as the stages write them."""
    label = artifacts.USER_EMBEDDINGS.path_of(fit="val", tower="all")
    vectors = storage.stage_file("train_retriever", label, lambda path: np.save(open_for(path), np.ones((5, 2))))
    storage.publish("train_retriever", label, vectors)
    items = artifacts.ITEM_EMBEDDINGS.path_of(fit="val", tower="all")
    kept = storage.stage_file("train_retriever", items, lambda path: np.save(open_for(path), np.ones((6, 2))))
    storage.publish("train_retriever", items, kept)
    book = openpyxl.Workbook()
    book.active.append([GONE, 1, "P1"])
    sheet = storage.stage_file("recommend", "recommendations.xlsx", lambda path: book.save(open_for(path)))
    storage.publish("recommend", "recommendations.xlsx", sheet)
    checkpoint = Path(storage.checkpoint_folder("train_ranker", "val")) / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"\0" + GONE.encode())
    shutil.copytree(Path(storage.root, RAW_LINES.path), Path(storage.root, "_staging", "clean", "lines.parquet"))
    bundle = Path(storage.root, "serving", "0123abcd")
    shutil.copytree(Path(storage.root, CUSTOMER_ID_MAP.path), bundle / "run" / CUSTOMER_ID_MAP.path)
    (bundle / "run" / MARKER).write_text("{}")
    (bundle / "customers.arrow").write_bytes(f"BETA{GONE}GAMMA".encode())  # as Arrow keeps texts


def open_for(path: str):
    return Path(path).open("wb")


@pytest.fixture
def shop(tmp_path) -> Path:
    write_shop(tmp_path / "shop.csv")
    return tmp_path


def test_what_holds_customers_is_told_by_columns_and_unknown_files_are_taken_to_hold_some():
    free = {name for name, artifact in ARTIFACTS.items() if not holds_customers(artifact)}
    assert {"items_clean", "item_id_map", "item_neighbours", "item_embeddings.npy", "evaluation"} <= free
    keyed = {"user_idx", "customer_id", "query_id"}
    assert [name for name in free if ARTIFACTS[name].schema and keyed & set(ARTIFACTS[name].schema.names)] == []
    assert {"raw_lines", "recommendations_xlsx", "user_embeddings.npy", "user_tower.npz"}.isdisjoint(free)
    assert holds_customers(artifacts.Artifact("new", kind="file", path="new.bin"))


def test_opaque_artifacts_go_before_those_by_which_a_customer_is_found_again():
    files = ["sequences_val.parquet/a.parquet", "customer_id_map.parquet/a.parquet", "_checkpoints/x/c.pt"]
    files += ["raw_lines.parquet/a.parquet", "items_clean.parquet/a.parquet", "letter.txt", "old.parquet.manifest.json"]
    files += ["fit=val/two_tower_all/user_embeddings.npy.manifest.json", "evaluation.json", "_stages/clean.json"]
    found = labels_with_customers(files)
    assert found[-1] == "customer_id_map.parquet"
    opaque = {"_checkpoints", "old.parquet", "sequences_val.parquet", "fit=val/two_tower_all/user_embeddings.npy"}
    assert set(found[:-1]) == opaque


def test_the_list_holds_salted_hashes_and_knows_an_id_however_it_is_spelled(tmp_path):
    root = str(tmp_path / "run")
    (tmp_path / "run" / "runs" / "a").mkdir(parents=True)
    assert add_forgotten(root, ["71053.0", GONE]) == 2
    assert add_forgotten(root, [" 71053", "8"]) == 1
    text = (tmp_path / "run" / LIST).read_text()
    assert GONE not in text
    assert "71053" not in text
    for place in (root, f"{root}/runs/a", f"{root}/runs/a/folds/1"):
        held = load_forgotten(place)
        assert held
        assert [each in held for each in ("71053", "71053.0 ", GONE, "8", "71054", "")] == [True] * 4 + [False] * 2
    assert not load_forgotten(str(tmp_path / "other"))
    assert not Forgotten()
    other = str(tmp_path / "other")
    Path(other).mkdir()
    add_forgotten(other, [GONE])
    assert load_forgotten(other).lists[0].hashes.isdisjoint(load_forgotten(root).lists[0].hashes)  # salts differ


def test_two_who_forget_at_once_both_add_their_customer(tmp_path, monkeypatch):
    root, read = RunRoot(str(tmp_path / "run")), forgotten._read

    def slowly(*given):
        found = read(*given)
        time.sleep(0.3)
        return found

    def add(customer: str) -> None:
        with undisturbed(root, LockRules(600), "test"):
            add_forgotten(root.root, [customer])

    monkeypatch.setattr(forgotten, "_read", slowly)
    root.create()
    add("first")  # from now on each call reads the list of another
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add, (GONE, "BETA")))
    assert all(customer in load_forgotten(root.root) for customer in ("first", GONE, "BETA"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "salt": "x", "hashes": []}', '{"format": 1}'])
def test_a_damaged_list_stops_everything_for_customers_would_come_back(tmp_path, text):
    (tmp_path / LIST).write_text(text)
    with pytest.raises(
        ArtifactError, match=r"_forgotten\.json is damaged, so that forgotten customers would come back"
    ):
        load_forgotten(str(tmp_path))


@pytest.mark.spark
def test_a_forgotten_customer_is_nowhere_below_the_root_and_does_not_come_back(spark, copied, storage, capsys):
    shutil.copytree(copied / "run", copied / "fold")
    (copied / "run" / "folds").mkdir()
    (copied / "fold").rename(copied / "run" / "folds" / "1")
    fold = Storage(f"{storage.root}/folds/1", spark)
    leave_files(storage)
    before = storage.read_table(RAW_LINES.path, RAW_LINES.schema)
    others = sorted(tuple(row) for row in before.filter("trim(customer_id) != 'ACME-FORGET-77'").collect())
    assert len(places_of(storage.root, [GONE])) > 10
    run_forget(copied, GONE)
    said = capsys.readouterr().out
    assert places_of(storage.root, [GONE]) == []
    assert not list(Path(storage.root).rglob("user_embeddings.npy*"))
    assert list(Path(storage.root).rglob("item_embeddings.npy"))
    assert not list(Path(storage.root).rglob("_checkpoints"))
    assert not Path(storage.root, "serving").exists()
    after = storage.read_table(RAW_LINES.path, RAW_LINES.schema, verify="full")
    assert sorted(tuple(row) for row in after.collect()) == others
    assert "9 lines of forgotten customers were taken out" in storage.manifest(RAW_LINES.path).note
    assert fold.manifest(CUSTOMER_ID_MAP.path) is None
    assert GONE not in said
    for expected in (
        "9 lines taken out of raw_lines",
        "found: nothing of them",
        f"{copied}/run/folds/1",
        "rebuild: recsys",
    ):
        assert expected in said
    assert "/shop.csv" in said  # the source file is not the product's to change
    assert GONE in (copied / "shop.csv").read_text()

    config = load_config(pairs=pairs_for(copied))
    assert run_stage(clean.STAGE, config, storage).metrics["lines"] == 21  # from raw_lines as it is now
    outcome = run_stage(ingest.STAGE, config, storage)  # over the same source file
    assert (outcome.skipped, outcome.metrics["lines"]) == (False, 21)
    assert storage.read_json(INGEST_REPORT.path)["forgotten_lines"] == 9
    interactions = storage.read_table(INTERACTIONS_CLEAN.path, INTERACTIONS_CLEAN.schema)
    assert set(column(interactions, "customer_id")) == set(OTHERS)
    assert places_of(storage.root, [GONE]) == []
    assert run_stage(ingest.STAGE, config, storage).skipped


@pytest.mark.spark
def test_an_interrupted_removal_is_finished_by_the_same_command(copied, storage, monkeypatch):

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal, "_rewrite_raw_lines", killed)
        with pytest.raises(KeyboardInterrupt):
            run_forget(copied, GONE)
    assert GONE in load_forgotten(storage.root)
    assert places_of(storage.root, [GONE]) != []
    run_forget(copied, GONE)
    assert places_of(storage.root, [GONE]) == []


@pytest.mark.spark
def test_a_customer_that_no_run_holds_costs_nothing_and_is_told(copied, storage, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path(storage.root).rglob("*") if path.is_file()}
    run_forget(copied, "NOBODY-AT-ALL")
    assert "no run below the root held them" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in Path(storage.root).rglob("*") if path.name != LIST}
    assert before == {path: time for path, time in after.items() if path.is_file()}


@pytest.mark.spark
def test_a_short_id_is_removed_and_the_same_text_elsewhere_is_only_mentioned(copied, storage, capsys):
    run_forget(copied, "7.0")
    said = capsys.readouterr().out
    assert "found: nothing of them" in said
    assert "the same text, as something else by all appearance: raw_lines.parquet, column quantity (21 rows)" in said
    lines = storage.read_table(RAW_LINES.path, RAW_LINES.schema)
    assert "7" not in column(lines, "customer_id")
    assert lines.count() == 23


@pytest.mark.spark
def test_what_nobody_can_remove_is_named_and_ends_with_exit_3(copied, storage, capsys):
    Path(storage.root, "my notes.txt").write_text(f"call {GONE} back")
    with pytest.raises(ArtifactError, match="something is left below") as caught:
        run_forget(copied, GONE)
    assert "LEFT: my notes.txt" in capsys.readouterr().out
    assert caught.value.exit_code == EXIT_DATA
    assert places_of(storage.root, [GONE]) == [f"{storage.root}/my notes.txt"]


@pytest.mark.spark
def test_a_pseudonymised_customer_is_forgotten_by_id_and_stays_so_under_another_key(spark, shop, monkeypatch):
    setting = f"ingest.pseudonymise_key_env={VARIABLE}"
    monkeypatch.setenv(VARIABLE, KEY)
    storage = run_stages(spark, shop, [ingest.STAGE], setting)
    known_as = pseudonym(KEY.encode(), GONE)
    assert places_of(storage.root, [known_as]) != []
    run_forget(shop, GONE, pairs=(setting,))
    assert places_of(storage.root, [known_as, GONE]) == []
    monkeypatch.setenv(VARIABLE, KEY + " another")
    again = run_stages(spark, shop, [ingest.STAGE], setting)
    assert again.read_json(INGEST_REPORT.path)["forgotten_lines"] == 9


@pytest.mark.spark
def test_where_the_key_is_lacking_or_another_the_run_is_named_unless_the_pseudonym_is_given(
    spark, shop, monkeypatch, capsys
):
    setting = f"ingest.pseudonymise_key_env={VARIABLE}"
    monkeypatch.setenv(VARIABLE, KEY)
    storage = run_stages(spark, shop, [ingest.STAGE], setting)
    known_as = pseudonym(KEY.encode(), GONE)
    monkeypatch.setenv(VARIABLE, KEY + " another")
    for pairs in ((), (setting,)):
        with pytest.raises(
            ArtifactError, match=rf"{storage.root} go by pseudonyms of a key that is not here"
        ) as caught:
            run_forget(shop, GONE, pairs=pairs)
        assert caught.value.exit_code == EXIT_DATA
        said = capsys.readouterr().out
        assert f"LEFT: {storage.root}, where customers go by pseudonyms of another key" in said
        assert "found: nothing" not in said
    run_forget(shop, known_as)
    assert "found: nothing of them" in capsys.readouterr().out
    assert places_of(storage.root, [known_as]) == []


def test_a_pseudonym_on_the_list_is_enough_where_nobody_knows_the_id():
    salted = SaltedHashes("salt")
    listed = SaltedHashes("salt", frozenset([salted.hash_of(pseudonym(KEY.encode(), GONE))]))
    entry = CustomerEntry(KEY.encode(), Forgotten((listed,)))
    assert entry.is_forgotten(f" {GONE}")
    assert not entry.is_forgotten("BETA")


@pytest.mark.spark
def test_a_root_without_a_run_and_a_blank_id_are_config_errors(spark, shop, tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        run_forget(shop, GONE)
    assert not (tmp_path / "run").exists()
    Storage(str(shop / "run"), spark).open_root()
    with pytest.raises(ConfigError, match="got a blank one"):
        run_forget(shop, " ")
    assert json.loads((shop / "run" / "_recsys.json").read_text()) == {"format": 1}
