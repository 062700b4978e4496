"""Draws of negatives, the odds of being a candidate, and the masks for false negatives."""

from __future__ import annotations

import math

import pyarrow  # noqa: F401  before torch
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training import negatives

pytestmark = pytest.mark.torch

NUM_ITEMS = 12
items = st.integers(0, NUM_ITEMS)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.lists(items, min_size=9, max_size=9), st.lists(items, min_size=3, max_size=3)), min_size=1)
)
def test_own_negatives_are_items_outside_history_and_positives_or_padding_where_there_are_none(rows):
    history, positives = (torch.tensor([row[side] for row in rows]) for side in (0, 1))
    draws = torch.rand(len(rows), 40, dtype=torch.float64, generator=negatives.generator(1, 2))
    found = negatives.own_negatives(history, positives, draws, NUM_ITEMS)
    for row, (bought, targets) in enumerate(rows):
        outside = set(range(1, NUM_ITEMS + 1)) - set(bought) - set(targets)
        assert set(found[row].tolist()) <= (outside or {0})


def test_own_negatives_are_uniform_over_the_items_outside():
    history, positives = torch.tensor([[0, 0, 2, 3, 3, 9]]), torch.tensor([[12, 1, 0]])
    draws = torch.rand(1, 70_000, dtype=torch.float64, generator=negatives.generator(1, 2))
    found = negatives.own_negatives(history, positives, draws, NUM_ITEMS)[0]
    counts = torch.bincount(found, minlength=NUM_ITEMS + 1)
    outside = [4, 5, 6, 7, 8, 10, 11]
    assert counts[outside].sum() == 70_000
    sigma = math.sqrt(70_000 * (1 / 7) * (6 / 7))
    assert bool(((counts[outside] - 10_000).abs() < 5 * sigma).all())


def test_the_largest_draw_is_the_last_item_outside_and_the_smallest_the_first():
    draws = torch.tensor([[0.0, 1 - 2**-53]], dtype=torch.float64)
    assert negatives.own_negatives(torch.tensor([[1, 2]]), torch.tensor([[12]]), draws, 12).tolist() == [[3, 11]]


def test_a_customer_who_owns_everything_gets_padding():
    history, positives = torch.tensor([[1, 2, 3], [1, 1, 2]]), torch.tensor([[4, 0], [3, 0]])
    draws = torch.rand(2, 5, dtype=torch.float64, generator=negatives.generator(1, 2))
    assert negatives.own_negatives(history, positives, draws, 4).tolist() == [[0] * 5, [4] * 5]


def test_log_inclusion_is_how_often_an_item_is_among_simulated_candidates():
    share = torch.tensor([0.35, 0.2, 0.15, 0.1, 0.1, 0.05, 0.03, 0.02, 0.0, 0.0])
    in_batch, uniform, rounds = 6, 4, 100_000
    made = torch.Generator().manual_seed(4)
    by_share = torch.multinomial(share.expand(rounds, -1), in_batch, replacement=True, generator=made)
    drawn = torch.cat([by_share, torch.randint(0, 10, (rounds, uniform), generator=made)], dim=1)
    present = torch.zeros(rounds, 10).scatter(1, drawn, 1.0)
    expected = negatives.log_inclusion(share, in_batch, uniform, 10).exp()
    assert torch.allclose(present.mean(dim=0), expected, atol=0.006)  # four standard errors


def test_log_inclusion_keeps_its_digits_in_a_large_catalogue():
    found = negatives.log_inclusion(torch.tensor([0.0, 1e-7]), 1000, 100, 5_000_000)
    assert found.exp().tolist() == pytest.approx([100 / 5e6, 100 / 5e6 + 1e-4], rel=1e-3)


def test_masked_candidates_equal_a_loop_over_the_rows_of_each_customer():
    made = torch.Generator().manual_seed(5)
    candidates = torch.tensor([2, 3, 5, 7, 8, 11])
    positives = torch.randint(0, NUM_ITEMS + 1, (40, 2), generator=made)
    users = torch.randint(1, 30, (40,), generator=made)
    own = slice(10, 25)  # the rows of this rank
    baskets = [(user, set(basket)) for user, basket in zip(users.tolist(), positives.tolist(), strict=True)]
    bought = {user: set().union(*(basket for one, basket in baskets if one == user)) for user, _ in baskets}
    expected = [[candidate in bought[user] for candidate in candidates.tolist()] for user in users[own].tolist()]
    assert negatives.masked_candidates(candidates, users[own], users[:, None], positives).tolist() == expected
    assert set(users[own].tolist()) & set(users[25:].tolist())


def test_the_same_seed_and_step_give_the_same_draws_and_others_others():
    def drawn(seed: int, step: int, purpose: int = 0) -> list[int]:
        return negatives.uniform_items(50, 1000, negatives.generator(seed, step, purpose)).tolist()

    assert drawn(7, 3) == drawn(7, 3)
    assert len({tuple(drawn(*key)) for key in [(7, 3), (7, 4), (8, 3), (7, 3, 1)]}) == 4


def test_uniform_items_are_real_items():
    found = negatives.uniform_items(2000, 5, negatives.generator(1, 1))
    assert found.unique().tolist() == [1, 2, 3, 4, 5]
