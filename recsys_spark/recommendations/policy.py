"""From rankings to lists: the rules of the business, how many products are new, how many of one group. NumPy alone.

Every list is filled place by place: the best item that no rule bars, of the kind (new to the customer or not) whose
turn it is. Behind the ranking stand the popular items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Flags, Floats, Ints, find, items_of_keys, pair_keys, rows_of_keys
from recsys_spark.baselines.ranking import Lists, Popular
from recsys_spark.recommendations.rules import NUMBER_OF, RULES, ItemRules, Numbers, with_pairs

_CELLS = 4_000_000  # of the matrices of one part of the queries
_FIRST_REACH, _REACH_GROWS = 256, 8  # popular items looked at behind a ranking, and by how much more if too few


@dataclass(frozen=True)
class Policy:
    """How lists are made of rankings. share_new: None for the order of the model; caps: None for none."""

    top_n: int
    share_new: float | None = None
    max_per_category: int | None = None
    max_per_brand: int | None = None

    def wants_new(self) -> Flags | None:
        """Whose turn each place is, (top_n,): so many new ones from the top down as come nearest to the share.

        >>> Policy(8, share_new=0.25).wants_new().astype(int).tolist()
        [0, 1, 0, 0, 0, 1, 0, 0]
        """
        if self.share_new is None:
            return None
        return np.diff(np.floor(np.arange(self.top_n + 1) * self.share_new + 0.5)) > 0


@dataclass(frozen=True)
class Entries:
    """Ranked (query, item) pairs in flat arrays of one length, query by query and best first.

    is_scored: by a model, rather than being a popular one behind the model's own. is_new: never bought by the customer.
    """

    rows: Ints
    items: Ints
    scores: Floats
    is_scored: Flags
    is_new: Flags

    def at(self, positions: Ints | Flags) -> Entries:
        """Some of the entries."""
        return Entries(*(values[positions] for values in _arrays(self)))

    @property
    def ranks(self) -> Ints:
        """From 1 within each query."""
        return np.arange(len(self.rows)) - np.searchsorted(self.rows, self.rows) + 1


@dataclass(frozen=True)
class Asked:
    """Q queries. micros: their times, (Q,). bought, excluded: `pair_keys` of (query, item), ascending: what the
    customer bought before, and what is not for him.
    """

    micros: Ints
    bought: Ints
    excluded: Ints

    def __len__(self) -> int:
        return len(self.micros)


@dataclass(frozen=True)
class FilledLists:
    """passed_over: how many entries of each query's ranking each of RULES kept out before the list was full, (Q, R)."""

    chosen: Entries
    passed_over: Ints


def entries_of(lists: Lists, asked: Asked) -> Entries:
    """The entries of ranked lists."""
    sizes = np.diff(lists.offsets)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    places = np.arange(len(rows)) - lists.offsets[:-1][rows]
    _, is_bought = find(asked.bought, pair_keys(rows, lists.items))
    return Entries(rows, lists.items, lists.scores, places < lists.num_scored[rows], ~is_bought)


def offered(lists: Lists, new: Lists, asked: Asked, share_new: float | None, popular: Popular) -> Entries:
    """What a list is made of: the ranking, or, where a share is asked for, all that was bought, in the order of the
    ranking and then of popularity, and the ranking of new items.
    """
    every = entries_of(lists, asked)
    if share_new is None:
        return every
    repeats = every.at(~every.is_new)
    return _joined(repeats, _other_repeats(repeats, asked, popular), entries_of(new, asked))


def _other_repeats(repeats: Entries, asked: Asked, popular: Popular) -> Entries:
    """What was bought before and may be ranked but is not among the repeats, the most popular first."""
    _, is_listed = find(np.sort(pair_keys(repeats.rows, repeats.items)), asked.bought)
    rows, places = rows_of_keys(asked.bought), popular.places_of(items_of_keys(asked.bought))
    left = np.flatnonzero(~is_listed & (places >= 0))
    left = left[np.lexsort((places[left], rows[left]))]
    places, nothing = places[left], np.zeros(len(left), dtype=bool)
    return Entries(rows[left], popular.items[places], popular.scores[places], nothing, nothing)


def make_lists(
    ranked: Entries, asked: Asked, policy: Policy, rules: ItemRules, popular: Popular, new_only: bool = False
) -> FilledLists:
    """The lists of all queries. new_only: the popular items behind are to be new to the customer too."""
    found = _part_by_part(ranked, asked, policy, rules)
    short = np.bincount(found.chosen.rows, minlength=len(asked)) < policy.top_n
    behind, reach = np.flatnonzero(rules.barred[popular.items] == 0), _FIRST_REACH
    while short.any():
        tail = Popular(popular.items[behind[:reach]], popular.scores[behind[:reach]])
        rows = np.flatnonzero(short)
        step = max(_CELLS // max(len(tail.items), 1), 1)
        again = []
        for first in range(0, len(rows), step):  # a cap that cannot be met leads to the end of the catalogue
            part = rows[first : first + step]
            longer = _with_tail(ranked.at(np.isin(ranked.rows, part)), part, tail, asked, new_only)
            again.append(_part_by_part(longer, asked, policy, rules).chosen)
        found = replace(found, chosen=_joined(found.chosen.at(~short[found.chosen.rows]), *again))
        short = (np.bincount(found.chosen.rows, minlength=len(asked)) < policy.top_n) & (reach < len(behind))
        reach *= _REACH_GROWS
    return found


def _with_tail(ranked: Entries, rows: Ints, tail: Popular, asked: Asked, new_only: bool) -> Entries:
    """The entries of some queries, with popular items behind that are not among them."""
    each, items = np.repeat(rows, len(tail.items)), np.tile(tail.items, len(rows))
    keys = pair_keys(each, items)
    _, is_ranked = find(np.sort(pair_keys(ranked.rows, ranked.items)), keys)
    _, is_bought = find(asked.bought, keys)
    behind = Entries(each, items, np.tile(tail.scores, len(rows)), np.zeros(len(each), bool), ~is_bought)
    behind = behind.at(~is_ranked & (~is_bought | (not new_only)))
    return _joined(ranked, behind)


def _part_by_part(ranked: Entries, asked: Asked, policy: Policy, rules: ItemRules) -> FilledLists:
    """Lists of the entries alone, a bounded number of queries at a time."""
    sizes = np.bincount(ranked.rows, minlength=len(asked))
    step = max(_CELLS // max(int(sizes.max(initial=0)), 1), 1)
    places, passed = [np.zeros(0, dtype=np.int64)], np.zeros((len(asked), len(RULES)), dtype=np.int64)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    for first in range(0, len(asked), step):
        last = min(first + step, len(asked))
        part = ranked.at(np.arange(bounds[first], bounds[last]))
        taken, passed[first:last] = _fill(replace(part, rows=part.rows - first), first, last, asked, policy, rules)
        places.append(taken + bounds[first])
    return FilledLists(ranked.at(np.concatenate(places)), passed)


def _fill(part: Entries, first: int, last: int, asked: Asked, policy: Policy, rules: ItemRules) -> tuple[Ints, Ints]:
    """Fill the lists of the queries [first, last), all of them one place at a time: positions of the entries taken, by
    query and place, and how many each rule kept out. Matrices are (queries, entries of the longest ranking).
    """
    rows, place = part.rows, np.arange(len(part.rows)) - np.searchsorted(part.rows, part.rows)
    shape = (last - first, int(place.max(initial=-1)) + 1)
    barred = np.zeros(shape, dtype=np.int8)
    own = rules.barring(part.items, asked.micros[rows + first])
    barred[rows, place] = with_pairs(own, pair_keys(rows + first, part.items), asked.excluded)
    free, is_new, position = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, np.int64)
    free[rows, place], is_new[rows, place] = barred[rows, place] == 0, part.is_new
    position[rows, place] = np.arange(len(rows))
    caps = {"max_per_category": (policy.max_per_category, rules.category)}
    caps["max_per_brand"] = (policy.max_per_brand, rules.brand)
    capped = []
    for rule, (most, group_of) in caps.items():
        if most is not None:
            groups = np.zeros(shape, np.int64)
            groups[rows, place] = group_of[part.items]
            capped.append((NUMBER_OF[rule], most, groups))
    taken, turns = np.zeros(shape, bool), policy.wants_new()
    if turns is None and not capped:  # no choice hangs on those before it
        taken = free & (free.cumsum(axis=1) <= policy.top_n)
        return position[taken], _passed_over(barred, taken, is_new, False, policy.top_n)
    order = []
    for turn in range(policy.top_n):
        active = np.flatnonzero(free.any(axis=1))
        if not len(active):
            break
        choice = free[active].argmax(axis=1)
        if turns is not None:
            wanted = free[active] & (is_new[active] == turns[turn])
            choice = np.where(wanted.any(axis=1), wanted.argmax(axis=1), choice)
        taken[active, choice], free[active, choice] = True, False
        order.append((active, position[active, choice]))
        for number, most, groups in capped:
            _close_full_groups(active, groups, groups[active, choice], most, number, taken, free, barred)
    return _by_query(order), _passed_over(barred, taken, is_new, turns is not None, policy.top_n)


def _close_full_groups(
    active: Ints, groups: Ints, chosen: Ints, most: int, number: int, taken: Flags, free: Flags, barred: Numbers
) -> None:
    """Bar what is left of the groups that the last choice has filled; group 0 has no bound."""
    same = groups[active] == chosen[:, None]
    is_full = ((same & taken[active]).sum(axis=1) >= most) & (chosen > 0)
    closed = same & free[active] & is_full[:, None]
    barred[active] = np.where(closed, number, barred[active])
    free[active] = free[active] & ~closed


def _passed_over(barred: Numbers, taken: Flags, is_new: Flags, by_kind: bool, top_n: int) -> Ints:
    """Of each query the barred entries by rule that stand before the last one taken of their kind, or anywhere where
    the list is not full.
    """
    counts = np.zeros((len(barred), len(RULES)), dtype=np.int64)
    is_short = taken.sum(axis=1) < top_n
    for kind in (True, False) if by_kind else (None,):
        own = np.ones_like(taken) if kind is None else is_new == kind
        reached = (taken & own)[:, ::-1].cumsum(axis=1)[:, ::-1] > 0  # something of the kind was taken here or behind
        rows, places = np.nonzero((barred > 0) & own & (reached | is_short[:, None]))
        np.add.at(counts, (rows, barred[rows, places] - 1), 1)
    return counts


def _by_query(order: list[tuple[Ints, Ints]]) -> Ints:
    """Positions that were taken place by place, query by query and in the order of the places."""
    nothing = np.zeros(0, dtype=np.int64)
    rows = np.concatenate([nothing, *(rows for rows, _ in order)])
    positions = np.concatenate([nothing, *(positions for _, positions in order)])
    return positions[np.argsort(rows, kind="stable")]


def _joined(*parts: Entries) -> Entries:
    """The entries of all parts query by query, of one query in the order of the parts."""
    joined = Entries(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, parts), strict=True)))
    return joined.at(np.argsort(joined.rows, kind="stable"))


def _arrays(entries: Entries) -> tuple[npt.NDArray, ...]:
    return entries.rows, entries.items, entries.scores, entries.is_scored, entries.is_new
