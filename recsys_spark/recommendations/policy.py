"""From rankings to lists: the rules of the business, how many products are new, how many of one group. NumPy alone.

Every list is filled place by place (see places.py). Behind the ranking stand the popular items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys_spark.arrays import Flags, Floats, Ints, find, items_of_keys, pair_keys, places_by_group, rows_of_keys
from recsys_spark.baselines.ranking import Lists, Popular
from recsys_spark.recommendations.places import Cap, Filled, fill
from recsys_spark.recommendations.rules import NUMBER_OF, RULES, ItemRules, with_pairs

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
        return places_by_group(self.rows) + 1


@dataclass(frozen=True)
class Asked:
    """Q queries. micros: their times, (Q,). bought, excluded: `pair_keys` of (query, item), ascending: what the
    customer bought before, and what is not for that customer.
    """

    micros: Ints
    bought: Ints
    excluded: Ints

    def __len__(self) -> int:
        return len(self.micros)


@dataclass(frozen=True)
class FilledLists:
    """passed_over: how many entries of each query's ranking each of RULES kept out before the list was full, (Q, R).

    wants_more: whether the list is short of entries, or, where a share is asked for, of new ones, (Q,).
    """

    chosen: Entries
    passed_over: Ints
    wants_more: Flags


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
    """The lists of all queries. new_only: the popular items behind are to be new to the customer too.

    Where too few of the ranking are left, or too few new ones where a share is asked for, as many popular items as it
    takes are looked at.
    """
    found = _part_by_part(ranked, asked, policy, rules)
    behind, reach = np.flatnonzero(rules.barred[popular.items] == 0), _FIRST_REACH
    while found.wants_more.any():
        rows = np.flatnonzero(found.wants_more)
        tail = Popular(popular.items[behind[:reach]], popular.scores[behind[:reach]])
        step = max(_CELLS // max(len(tail.items), 1), 1)
        chosen, wants_more = [found.chosen.at(~found.wants_more[found.chosen.rows])], np.zeros(len(asked), dtype=bool)
        for first in range(0, len(rows), step):  # a cap that cannot be met leads to the end of the catalogue
            part = rows[first : first + step]
            longer = _with_tail(ranked.at(np.isin(ranked.rows, part)), part, tail, asked, new_only)
            again = _part_by_part(longer, asked, policy, rules)
            chosen.append(again.chosen)
            wants_more[part] = again.wants_more[part] & (reach < len(behind))
        found = FilledLists(_joined(*chosen), found.passed_over, wants_more)
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
    wants_more = np.zeros(len(asked), dtype=bool)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    for first in range(0, len(asked), step):
        last = min(first + step, len(asked))
        part = ranked.at(np.arange(bounds[first], bounds[last]))
        filled = _fill(replace(part, rows=part.rows - first), first, last, asked, policy, rules)
        places.append(bounds[first:last][filled.rows] + filled.columns)
        passed[first:last] = filled.passed_over
        wants_more[first:last] = filled.lacks[1]  # all repeats are among the entries where a share is asked for
    return FilledLists(ranked.at(np.concatenate(places)), passed, wants_more)


def _fill(part: Entries, first: int, last: int, asked: Asked, policy: Policy, rules: ItemRules) -> Filled:
    """Fill the lists of the queries [first, last) from their entries, laid out as one row per query."""
    rows, columns = part.rows, places_by_group(part.rows)
    shape = (last - first, int(columns.max(initial=-1)) + 1)

    def laid_out(values: npt.NDArray) -> npt.NDArray:
        matrix = np.zeros(shape, dtype=values.dtype)
        matrix[rows, columns] = values
        return matrix

    own = rules.barring(part.items, asked.micros[rows + first])
    barred = with_pairs(own, pair_keys(rows + first, part.items), asked.excluded)
    bounds = (
        ("max_per_category", policy.max_per_category, rules.category),
        ("max_per_brand", policy.max_per_brand, rules.brand),
    )
    caps = [Cap(NUMBER_OF[name], most, laid_out(of[part.items])) for name, most, of in bounds if most is not None]
    is_there = laid_out(np.ones(len(rows), dtype=bool))
    return fill(laid_out(barred), laid_out(part.is_new), is_there, policy.top_n, policy.wants_new(), caps)


def _joined(*parts: Entries) -> Entries:
    """The entries of all parts query by query, of one query in the order of the parts."""
    joined = Entries(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, parts), strict=True)))
    return joined.at(np.argsort(joined.rows, kind="stable"))


def _arrays(entries: Entries) -> tuple[npt.NDArray, ...]:
    return entries.rows, entries.items, entries.scores, entries.is_scored, entries.is_new
