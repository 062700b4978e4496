"""Nothing that the product reads can run code: no source unpickles, and a planted pickle is refused unread."""

from __future__ import annotations

import ast
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.candidates.towers import load_tower
from recsys_spark.contracts.errors import ArtifactError, TrainingError

ROOT = Path(__file__).parents[1]
FOLDERS = ("jobs", "recsys_spark", "training", "benchmarks")
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
NEVER = {"read_pickle", "to_pickle", "unsafe_load", "full_load"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
# A loader, the keyword that makes it refuse pickles, and the value of that.
GUARDED = {("np", "load"): ("allow_pickle", False), ("torch", "load"): ("weights_only", True)}
UNSAFE_YAML = {("yaml", "load"), ("yaml", "load_all")}


def faults_in(source: str) -> list[str]:
    """What in a source could unpickle or evaluate a file's content, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = {alias.name.split(".")[0] for alias in node.names} if module is None else {module.split(".")[0]}
            found += [f"{node.lineno} imports {name}" for name in names & UNPICKLERS]
            if module in ("numpy", "torch", "yaml") and any("load" in alias.name for alias in node.names):
                found.append(f"{node.lineno} hides whose load it calls")
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno} {fault}" for fault in call_faults(node)]
    return found


def call_faults(call: ast.Call) -> list[str]:
    function = call.func
    if isinstance(function, ast.Name):
        return [function.id] if function.id in BUILTINS else []
    if not isinstance(function, ast.Attribute):
        return []
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    owner = {"numpy": "np"}.get(owner, owner)
    if function.attr in NEVER or (owner, function.attr) in UNSAFE_YAML:
        return [function.attr]
    guard = GUARDED.get((owner, function.attr))
    given = {word.arg: word.value for word in call.keywords}
    if guard is None:
        loose = given.get("allow_pickle")
        return ["allow_pickle"] if isinstance(loose, ast.Constant) and loose.value else []
    stated = given.get(guard[0])
    if not isinstance(stated, ast.Constant) or stated.value is not guard[1]:
        return [f"{owner}.load without {guard[0]}={guard[1]}"]
    return []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import cloudpickle as safe",
        "import numpy as np\nnp.load(path)",
        "import numpy\nnumpy.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "from numpy import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pd.read_pickle(path)",
        "yaml.load(text, Loader)",
        "eval(text)",
    ],
)
def test_the_walk_sees_what_it_looks_for(source):
    assert len(faults_in(source)) == 1


def test_the_walk_lets_safe_loads_pass():
    safe = (
        "np.load(path, 'r', allow_pickle=False)\ntorch.load(path, weights_only=True)\nmodel.eval()\nyaml.safe_load(x)"
    )
    assert faults_in(safe) == []


def test_no_source_unpickles():
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 150
    found = [f"{path.relative_to(ROOT)}:{fault}" for path in paths for fault in faults_in(path.read_text("utf-8"))]
    assert found == []
    loads = sum(path.read_text("utf-8").count(call) for path in paths for call in ("np.load(", "torch.load("))
    assert loads >= 7  # so that the walk has something to judge


class Malicious:
    """Writes a file when it is unpickled, by a function that any of its readers could find."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (eval, (f"__import__('pathlib').Path({str(self.mark)!r}).write_text('it ran')",))


@pytest.fixture
def mark(tmp_path) -> Path:
    return tmp_path / "it ran"


def test_the_planted_pickle_does_run_where_it_is_unpickled(mark):
    pickle.loads(pickle.dumps(Malicious(mark)))
    assert mark.exists()


def torch_archive(planted: Malicious) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"format": 1, "kind": "mlp", "features": [planted], "fingerprint": planted}, file)
    return file.getvalue()


def torch_legacy(planted: Malicious) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"kind": planted}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def tar_of_pickles(planted: Malicious) -> bytes:
    """The oldest form of PyTorch's files, whose reader CVE-2025-32434 is about."""
    file = io.BytesIO()
    content = pickle.dumps(planted)
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def plain(planted: Malicious) -> bytes:
    return pickle.dumps(planted)


@pytest.mark.torch
@pytest.mark.parametrize("form", [torch_archive, torch_legacy, tar_of_pickles, plain])
def test_a_pickle_in_the_place_of_a_ranker_or_a_checkpoint_is_refused_and_does_not_run(tmp_path, mark, form):
    from recsys_spark.ranker.score import load_ranker
    from training.checkpoint import Checkpoints

    for name in ("ranker_best.pt", "checkpoint.pt"):
        (tmp_path / name).write_bytes(form(Malicious(mark)))
    with pytest.raises(ArtifactError, match=r"ranker_best\.pt is no ranker") as refused:
        load_ranker(str(tmp_path / "ranker_best.pt"), "")
    assert "\n" not in str(refused.value)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be used"):
        Checkpoints(tmp_path).load("fingerprint")
    assert not mark.exists()


@pytest.mark.torch
def test_a_booster_in_a_ranker_is_text_that_is_parsed_and_not_run(tmp_path, mark):
    import torch

    from recsys_spark.ranker.score import load_ranker
    from tests.support.rankers import need_lightgbm

    need_lightgbm()
    boosters = dict.fromkeys(("all", "first"), pickle.dumps(Malicious(mark), protocol=0).decode())
    torch.save({"format": 1, "kind": "gbdt", "features": ["a"], "boosters": boosters}, tmp_path / "ranker_best.pt")
    with pytest.raises(ArtifactError, match=r"ranker_best\.pt holds no model of LightGBM"):
        load_ranker(str(tmp_path / "ranker_best.pt"), "")
    assert not mark.exists()


def test_a_pickle_in_the_place_of_arrays_is_refused_and_does_not_run(tmp_path, mark):
    objects = np.array([Malicious(mark)], dtype=object)
    np.save(tmp_path / "item_embeddings.npy", np.ones((3, 2), np.float32))
    np.savez(tmp_path / "user_tower.npz", user_tower=objects, pooling=objects)
    np.save(tmp_path / "objects.npy", objects)
    (tmp_path / "plain.npz").write_bytes(plain(Malicious(mark)))
    items = FittedFile(str(tmp_path / "item_embeddings.npy"), "")
    for name in ("user_tower.npz", "plain.npz", "objects.npy"):
        with pytest.raises(ArtifactError, match=rf"{name} holds no arrays of numbers") as refused:
            load_tower(FittedFile(str(tmp_path / name), name), items)
        assert "\n" not in str(refused.value)
    with pytest.raises(ArtifactError, match=r"objects\.npy holds no arrays of numbers"):
        FittedFile(str(tmp_path / "objects.npy"), "").array()
    assert not mark.exists()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("engine", ["petastorm", "arrow"])
def test_petastorms_pickled_schema_beside_the_shards_is_not_read(tmp_path, mark, engine):
    from petastorm import make_batch_reader

    from tests.training.published import flat, publish, read

    folder = publish(tmp_path / "t.parquet", [[4, 4]])
    schema = pa.schema([("row", pa.int64())], {b"dataset-toolkit.unischema.v1": plain(Malicious(mark))})
    pq.write_metadata(schema, f"{folder}/_common_metadata")
    assert flat(read(folder, shuffle=False, engine=engine)) == list(range(8))
    assert not mark.exists()
    with pytest.raises(AttributeError):  # so it would, had it been given the folder in place of the files
        make_batch_reader(f"file://{folder}", workers_count=1)
    assert mark.exists()
