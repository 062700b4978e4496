"""Which of a ranking's entries fill the places of a list: matrices of (queries, entries), NumPy alone.

Every place goes to the best entry that no rule bars, of the kind (new to the customer or not) whose turn it is; where
none is left, to the best of the other kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys_spark.arrays import Flags, Ints
from recsys_spark.recommendations.rules import RULES, Numbers


@dataclass(frozen=True)
class Cap:
    """How many entries of a group a list may hold. rule: its number; groups: of each entry, 0 for none, (Q, E)."""

    rule: int
    most: int
    groups: Ints


@dataclass(frozen=True)
class Filled:
    """rows, columns: of the entries taken, of each query in the order of the places. passed_over: entries that each
    rule kept out, (Q, RULES). lacks: whether the entries of a kind ran out while there were places for it, by kind
    (repeats, new ones), (2, Q); for both where the list is not full.
    """

    rows: Ints
    columns: Ints
    passed_over: Ints
    lacks: Flags


def fill(
    barred: Numbers, is_new: Flags, is_there: Flags, top_n: int, turns: Flags | None, caps: Sequence[Cap]
) -> Filled:
    """Fill the lists of all queries.

    barred: number of the rule that bars an entry, 0 for none; is_there: false behind the end of a ranking; turns:
    whether each place is for a new one, (top_n,), None where the order of the ranking decides.
    """
    if turns is None and not caps:
        return _first_free(barred, is_new, is_there, top_n)
    return _place_by_place(barred, is_new, is_there, top_n, turns, caps)


def _first_free(barred: Numbers, is_new: Flags, is_there: Flags, top_n: int) -> Filled:
    """Where no choice hangs on those before it."""
    free = is_there & (barred == 0)
    taken = free & (free.cumsum(axis=1) <= top_n)
    lacks = np.tile(taken.sum(axis=1) < top_n, (2, 1))
    rows, columns = np.nonzero(taken)
    return Filled(rows, columns, _passed_over(barred, taken, is_new, lacks, by_kind=False), lacks)


def _place_by_place(
    barred: Numbers, is_new: Flags, is_there: Flags, top_n: int, turns: Flags | None, caps: Sequence[Cap]
) -> Filled:
    """One place of all lists at a time."""
    barred, free = barred.copy(), is_there & (barred == 0)
    taken, lacks = np.zeros_like(free), np.zeros((2, len(free)), dtype=bool)
    order: list[tuple[Ints, Ints]] = []
    for turn in range(top_n):
        active = np.flatnonzero(free.any(axis=1))
        if not len(active):
            break
        columns = free[active].argmax(axis=1)
        if turns is not None:
            wanted = free[active] & (is_new[active] == turns[turn])
            is_wanted = wanted.any(axis=1)
            columns = np.where(is_wanted, wanted.argmax(axis=1), columns)
            lacks[int(turns[turn]), active[~is_wanted]] = True
        taken[active, columns], free[active, columns] = True, False
        order.append((active, columns))
        for cap in caps:
            _close_full_groups(active, columns, cap, taken, free, barred)
    lacks |= taken.sum(axis=1) < top_n
    passed_over = _passed_over(barred, taken, is_new, lacks, by_kind=turns is not None)
    return Filled(*_by_query(order), passed_over, lacks)


def _close_full_groups(active: Ints, columns: Ints, cap: Cap, taken: Flags, free: Flags, barred: Numbers) -> None:
    """Bar what is left of the groups that the last choice has filled; group 0 has no bound."""
    chosen = cap.groups[active, columns]
    same = cap.groups[active] == chosen[:, None]
    is_full = ((same & taken[active]).sum(axis=1) >= cap.most) & (chosen > 0)
    closed = same & free[active] & is_full[:, None]
    barred[active] = np.where(closed, cap.rule, barred[active])
    free[active] = free[active] & ~closed


def _passed_over(barred: Numbers, taken: Flags, is_new: Flags, lacks: Flags, by_kind: bool) -> Ints:
    """Of each query the barred entries by rule that stand before the last one taken of their kind, or anywhere where
    the list lacks some of the kind.
    """
    counts = np.zeros((len(barred), len(RULES)), dtype=np.int64)
    for kind in (0, 1):
        own = is_new == kind
        alike = own if by_kind else np.ones_like(own)
        reached = (taken & alike)[:, ::-1].cumsum(axis=1)[:, ::-1] > 0  # something alike was taken here or behind
        rows, columns = np.nonzero((barred > 0) & own & (reached | lacks[kind][:, None]))
        np.add.at(counts, (rows, barred[rows, columns] - 1), 1)
    return counts


def _by_query(order: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Rows and columns that were taken place by place, query by query and in the order of the places."""
    nothing = np.zeros(0, dtype=np.int64)
    rows, columns = (np.concatenate([nothing, *arrays]) for arrays in (zip(*order, strict=True) if order else ((), ())))
    by_query = np.argsort(rows, kind="stable")
    return rows[by_query], columns[by_query]
