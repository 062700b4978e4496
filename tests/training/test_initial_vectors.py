"""Item vectors from the SVD of co-purchases."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from training.retriever.initial_vectors import ppmi_vectors

pytestmark = pytest.mark.torch

FIRST, SECOND, WITHOUT = [1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12]
NUM_ITEMS = 12


def write(path, pairs: list[tuple[int, int, float]]) -> str:
    columns = zip(*pairs, strict=True) if pairs else ([], [], [])
    item, neighbour, ppmi = (list(values) for values in columns)
    table = pa.table(
        {"item_idx": pa.array(item, pa.int64()), "neighbour_idx": pa.array(neighbour, pa.int64())}
        | {"ppmi": pa.array(ppmi, pa.float64())}
    )
    pq.write_table(table, path)
    return str(path)


def block_pairs(block: list[int]) -> list[tuple[int, int, float]]:
    """Each item with every other of its block, written from one side or both."""
    pairs = [(a, b, 1.0 + (a * b) % 3 / 10) for a in block for b in block if a < b]
    return pairs + [(b, a, value) for a, b, value in pairs[::2]]


@pytest.fixture
def blocks(tmp_path) -> str:
    """Two blocks of items bought together, with one weak pair between them; two items without a pair."""
    return write(tmp_path / "pairs.parquet", [*block_pairs(FIRST), *block_pairs(SECOND), (5, 6, 0.05)])


def test_items_of_a_block_are_near_each_other_and_far_from_those_of_the_other(blocks):
    vectors = ppmi_vectors(blocks, NUM_ITEMS, dim=2, seed=1)
    cosines = vectors @ vectors.T
    assert float(cosines[FIRST][:, FIRST].min()) > 0.9
    assert float(cosines[SECOND][:, SECOND].min()) > 0.9
    assert float(cosines[FIRST][:, SECOND].abs().max()) < 0.2


@pytest.mark.parametrize("dim", [2, 4, 32])
def test_every_item_has_a_unit_vector_and_padding_none(blocks, dim):
    vectors = ppmi_vectors(blocks, NUM_ITEMS, dim, seed=1)
    assert vectors.shape == (NUM_ITEMS + 1, dim)
    assert vectors.dtype == torch.float32
    assert vectors.norm(dim=1).tolist() == pytest.approx([0.0] + [1.0] * NUM_ITEMS, abs=1e-5)


def test_the_same_seed_gives_the_same_vectors(blocks):
    assert torch.equal(ppmi_vectors(blocks, NUM_ITEMS, 4, seed=1), ppmi_vectors(blocks, NUM_ITEMS, 4, seed=1))


def test_items_without_a_pair_differ_from_each_other_and_by_seed(blocks):
    one, other = (ppmi_vectors(blocks, NUM_ITEMS, 16, seed)[WITHOUT] for seed in (1, 2))
    assert float((one @ one.T)[0, 1].abs()) < 0.9
    assert not torch.allclose(one, other)


def test_with_enough_dimensions_inner_products_are_those_of_the_matrix(tmp_path):
    """U sqrt(S) times its own transpose is the matrix, where that has no negative eigenvalue."""
    pairs = [(1, 1, 4.0), (1, 2, 1.0), (2, 2, 3.0), (2, 3, 0.5), (3, 3, 2.0)]
    vectors = ppmi_vectors(write(tmp_path / "pairs.parquet", pairs), 3, dim=3, seed=1)[1:]
    expected = torch.tensor([[1.0, 1 / 12**0.5, 0.0], [1 / 12**0.5, 1.0, 0.5 / 6**0.5], [0.0, 0.5 / 6**0.5, 1.0]])
    assert torch.allclose(vectors @ vectors.T, expected, atol=1e-5)


def test_an_item_of_which_the_leading_dimensions_hold_nothing_gets_a_random_unit_vector(tmp_path):
    far = [(11, 12, 1e-4), (12, 11, 1e-4)]  # a pair apart, which one dimension does not reach
    path = write(tmp_path / "pairs.parquet", [*block_pairs(FIRST), *block_pairs(SECOND), (5, 6, 0.05), *far])
    vectors = ppmi_vectors(path, NUM_ITEMS, dim=8, seed=1)
    assert vectors[1:].norm(dim=1).tolist() == pytest.approx([1.0] * NUM_ITEMS, abs=1e-5)


def test_without_any_pair_all_vectors_are_random(tmp_path):
    vectors = ppmi_vectors(write(tmp_path / "pairs.parquet", []), NUM_ITEMS, dim=4, seed=1)
    assert vectors.norm(dim=1).tolist() == pytest.approx([0.0] + [1.0] * NUM_ITEMS, abs=1e-5)
