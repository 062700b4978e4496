"""How many products of a list are new to the customer: the model's own order, or a share that is kept throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys_spark.baselines.ranking import Floats, Lists
from recsys_spark.sequences.windows import Ints


@dataclass(frozen=True)
class Chosen:
    """Items for Q queries, query by query and best first: row of the query, item, score, and whether a model scored it
    rather than its being a popular one behind the model's own; (P,) each.
    """

    rows: Ints
    items: Ints
    scores: Floats
    is_scored: np.ndarray

    @property
    def ranks(self) -> Ints:
        """From 1 within each query."""
        return np.arange(len(self.rows)) - np.searchsorted(self.rows, self.rows) + 1


def first_of(lists: Lists, top_n: int) -> Chosen:
    """The first `top_n` of each list."""
    return _at(lists, [np.arange(size)[:top_n] for size in np.diff(lists.offsets)])


def with_share(lists: Lists, new: Lists, is_repeat: np.ndarray, share: float, top_n: int) -> Chosen:
    """Lists of which a share is new from the top down, as near as whole products allow.

    lists: of all items, of which the repeats are taken; new: of what was never bought; is_repeat: of the entries of
    `lists`. Where one kind runs out, the other fills up.
    """
    repeats = [
        np.flatnonzero(is_repeat[start:end]) for start, end in zip(lists.offsets[:-1], lists.offsets[1:], strict=True)
    ]
    turns = [turns_of(len(own), size, share, top_n) for own, size in zip(repeats, np.diff(new.offsets), strict=True)]
    of_new = _at(new, [np.arange(int(turn.sum())) for turn in turns])
    of_repeats = _at(lists, [own[: int((~turn).sum())] for own, turn in zip(repeats, turns, strict=True)])
    is_new = np.concatenate([*turns, np.zeros(0, dtype=bool)])
    place = np.where(is_new, np.cumsum(is_new), len(of_new.rows) + np.cumsum(~is_new)) - 1
    every = (np.concatenate(parts)[place] for parts in zip(_parts(of_new), _parts(of_repeats), strict=True))
    return Chosen(*every)


def turns_of(num_repeats: int, num_new: int, share: float, top_n: int) -> np.ndarray:
    """Which places of a list go to new products, (at most top_n,).

    >>> turns_of(9, 9, 0.25, 8).astype(int).tolist()
    [0, 1, 0, 0, 0, 1, 0, 0]
    >>> turns_of(1, 9, 0.25, 4).astype(int).tolist()
    [0, 1, 1, 1]
    """
    reached = np.floor(np.arange(top_n + 1) * share + 0.5)
    turns: list[bool] = []
    for wants_new in np.diff(reached) > 0:
        left_new, left_repeats = num_new - sum(turns), num_repeats - (len(turns) - sum(turns))
        if left_new or left_repeats:
            turns.append(bool(left_new and (wants_new or not left_repeats)))
    return np.array(turns, dtype=bool)


def _at(lists: Lists, places: Sequence[Ints]) -> Chosen:
    """Some places of each list, in rising order."""
    rows = np.repeat(np.arange(len(places)), [len(each) for each in places])
    within = np.concatenate([*places, np.zeros(0, np.int64)])
    at = within + lists.offsets[rows]
    return Chosen(rows, lists.items[at], lists.scores[at], within < lists.num_scored[rows])


def _parts(chosen: Chosen) -> tuple[np.ndarray, ...]:
    return chosen.rows, chosen.items, chosen.scores, chosen.is_scored
