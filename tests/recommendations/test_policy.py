from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.arrays import pair_keys
from recsys_spark.baselines.ranking import Lists, Popular
from recsys_spark.recommendations.policy import Asked, Policy, entries_of, make_lists, offered
from recsys_spark.recommendations.rules import NUMBER_OF, RULES, ItemRules

NUM_ITEMS = 12
NOBODY = np.zeros(0, dtype=np.int64)
NO_POPULAR = Popular(NOBODY, np.zeros(0))


def lists_of(items: list[list[int]], num_scored: int = 2) -> Lists:
    """Lists of which the first two items were scored; an item's score is its number, below zero."""
    every = np.array([item for one in items for item in one], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, items)])
    return Lists("all_items", offsets, every, -every.astype(float), np.minimum(np.diff(offsets), num_scored))


def asked_at(bought: list[list[int]], excluded: list[list[int]] | None = None, micros: int = 0) -> Asked:
    def keys(each: list[list[int]]) -> np.ndarray:
        pairs = [pair_keys(np.array([row]), np.array([item]))[0] for row, items in enumerate(each) for item in items]
        return np.sort(np.array(pairs, dtype=np.int64))

    return Asked(np.full(len(bought), micros), keys(bought), keys(excluded or []))


def made(ranking, policy, rules=None, bought=None, excluded=None, popular=(), new=None, micros=0):
    """The lists of some queries as lists of items, and what was passed over by rule and query."""
    asked = asked_at(bought or [[] for _ in ranking], excluded, micros)
    behind = Popular(np.array(popular, dtype=np.int64), np.zeros(len(popular)))
    entries = offered(lists_of(ranking), lists_of(new or ranking), asked, policy.share_new, behind)
    found = make_lists(entries, asked, policy, rules or ItemRules.none(NUM_ITEMS), behind)
    chosen = [found.chosen.items[found.chosen.rows == row].tolist() for row in range(len(ranking))]
    passed = {rule: found.passed_over[:, place].tolist() for place, rule in enumerate(RULES)}
    return chosen, {rule: counts for rule, counts in passed.items() if any(counts)}


def barring(**items: int) -> ItemRules:
    """Rules that bar one item each: barring(withdrawn=4)."""
    rules = ItemRules.none(NUM_ITEMS)
    for rule, item in items.items():
        rules.barred[item] = NUMBER_OF[rule]
    return rules


def grouped(category: dict[int, int], brand: dict[int, int] | None = None) -> ItemRules:
    rules = ItemRules.none(NUM_ITEMS)
    for group, of_item in ((rules.category, category), (rules.brand, brand or {})):
        for item, number in of_item.items():
            group[item] = number
    return rules


def test_without_rules_the_first_of_each_list_keep_their_order():
    assert made([[4, 2, 9], [], [7]], Policy(2)) == ([[4, 2], [], [7]], {})


def test_a_barred_item_makes_place_for_the_next_and_counts_once():
    assert made([[4, 2, 9, 7]], Policy(2), barring(withdrawn=4)) == ([[2, 9]], {"withdrawn": [1]})


def test_what_stands_behind_a_full_list_was_not_passed_over():
    assert made([[4, 2, 9]], Policy(2), barring(out_of_stock=9)) == ([[4, 2]], {})


def test_an_item_that_two_rules_bar_counts_for_the_first():
    rules = barring(min_price=4)
    rules.end[4] = 5
    found = made([[4, 2]], Policy(1), rules, excluded=[[4]], micros=5)
    assert found == ([[2]], {"no_longer": [1]})


@pytest.mark.parametrize(("micros", "allowed"), [(9, False), (10, True), (19, True), (20, False)])
def test_a_window_holds_its_beginning_and_not_its_end(micros, allowed):
    rules = ItemRules.none(NUM_ITEMS)
    rules.start[4], rules.end[4] = 10, 20
    chosen, passed = made([[4, 2]], Policy(1), rules, micros=micros)
    assert chosen == [[4 if allowed else 2]]
    assert passed == ({} if allowed else {"not_yet" if micros < 10 else "no_longer": [1]})


def test_exclusions_are_of_one_customer():
    found = made([[4, 2], [4, 2]], Policy(1), excluded=[[4], []])
    assert found == ([[2], [4]], {"customer_exclusions": [1, 0]})


def test_a_category_and_a_brand_have_only_so_many_places():
    rules = grouped({1: 5, 2: 5, 3: 5, 4: 6}, {1: 7, 4: 7, 5: 7})
    assert made([[1, 2, 3, 4, 5, 6]], Policy(3, max_per_category=2), rules) == ([[1, 2, 4]], {"max_per_category": [1]})
    assert made([[1, 2, 3, 4, 5, 6]], Policy(4, max_per_category=2, max_per_brand=1), rules) == (
        [[1, 2, 6]],
        {"max_per_category": [1], "max_per_brand": [2]},
    )


def test_items_without_a_category_are_not_one_category():
    assert made([[1, 2, 3]], Policy(3, max_per_category=1))[0] == [[1, 2, 3]]


def test_popular_items_fill_up_a_list_that_rules_have_shortened():
    rules = grouped({1: 5, 2: 5, 8: 5})
    rules.barred[9] = NUMBER_OF["withdrawn"]
    chosen, passed = made([[1, 2], [3, 4]], Policy(3, max_per_category=1), rules, popular=(9, 8, 1, 7, 6))
    assert chosen == [[1, 7, 6], [3, 4, 8]]
    assert passed == {"max_per_category": [1, 0]}


def test_popular_items_behind_are_looked_at_as_far_as_it_takes():
    """Only the last of 600 popular items is of another category."""
    rules = ItemRules.none(700)
    rules.category[1:600] = 1
    asked = asked_at([[]])
    entries = entries_of(lists_of([[1]]), asked)
    popular = Popular(np.arange(1, 601), np.zeros(600))
    found = make_lists(entries, asked, Policy(2, max_per_category=1), rules, popular)
    assert found.chosen.items.tolist() == [1, 600]
    assert found.chosen.is_scored.tolist() == [True, False]


def test_where_only_new_products_count_so_do_the_popular_ones_behind():
    asked = asked_at([[6]])
    entries = entries_of(lists_of([[1]]), asked)
    found = make_lists(entries, asked, Policy(2), ItemRules.none(9), Popular(np.array([6, 7]), np.zeros(2)), True)
    assert found.chosen.items.tolist() == [1, 7]


def test_a_share_of_new_products_is_kept_although_rules_bar_some():
    """Repeats 1 to 4, new ones 7 to 10; 7 is withdrawn, so the next new one has its place."""
    chosen, passed = made(
        [[1, 2, 3, 4, 7, 8]],
        Policy(4, share_new=0.5),
        barring(withdrawn=7, out_of_stock=1),
        bought=[[1, 2, 3, 4]],
        new=[[7, 8, 9, 10]],
    )
    assert chosen == [[8, 2, 9, 3]]
    assert passed == {"withdrawn": [1], "out_of_stock": [1]}


def test_popular_new_products_come_before_repeats_where_rules_leave_too_few_new_ones():
    """Of the new ones the ranking has 7 alone, which is withdrawn."""
    few = {"bought": [[1, 2, 3, 4]], "new": [[7]], "popular": (7, 8, 9)}
    assert made([[1, 2, 3, 4]], Policy(3, share_new=1.0), barring(withdrawn=7), **few) == (
        [[8, 9, 1]],
        {"withdrawn": [1]},
    )


def test_a_category_that_is_full_does_not_cost_new_products_their_share():
    """All new ones that are ranked are of one category; the catalogue has others."""
    rules = grouped({7: 5, 8: 5, 9: 5})
    few = {"bought": [[1, 2, 3, 4]], "new": [[7, 8, 9]], "popular": (9, 10, 11)}
    policy = Policy(4, share_new=0.5, max_per_category=1)
    assert made([[1, 2, 3, 4]], policy, rules, **few) == ([[7, 1, 10, 2]], {"max_per_category": [2]})


def test_repeats_that_the_ranking_does_not_reach_take_their_places_before_new_products():
    found = made([[7, 8, 1], [9, 7]], Policy(4, share_new=0.25), bought=[[1, 2, 3], [5]], popular=(3, 7, 8, 9, 2, 6))
    assert found == ([[1, 7, 3, 2], [9, 7, 3, 8]], {})  # 5 may not be ranked
    assert made([[7, 8, 1]], Policy(3, share_new=0.0), bought=[[1, 2, 3]], popular=(3, 7, 8, 2))[0] == [[1, 3, 2]]


def test_a_cap_that_cannot_be_met_looks_through_the_catalogue_part_by_part(monkeypatch):
    rules = grouped(dict.fromkeys(range(1, 13), 1))
    monkeypatch.setattr("recsys_spark.recommendations.policy._CELLS", 12)
    assert made([[4], [2], []], Policy(3, max_per_category=1), rules, popular=range(1, 13))[0] == [[4], [2], [1]]


def test_new_and_repeated_products_share_the_places_of_their_category():
    chosen, _ = made(
        [[1, 2, 3, 7, 8]],
        Policy(4, share_new=0.5, max_per_category=1),
        grouped({7: 5, 1: 5, 2: 6, 8: 6}),
        bought=[[1, 2, 3]],
        new=[[7, 8, 9]],
    )
    assert chosen == [[7, 2, 9, 3]]  # 7 fills category 5, so 1 gives way to 2, which fills category 6 before 8


SIZES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4)


@settings(deadline=None)
@given(SIZES, st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), st.integers(1, 8))
def test_lists_with_a_share_are_those_made_item_by_item(sizes, share, top_n):
    """Repeats are numbered from 1, new items from 7; every all_items list has the repeats before the new ones."""
    new = [list(range(7, 7 + number)) for _, number in sizes]
    bought = [list(range(1, 1 + number)) for number, _ in sizes]
    every = [[*own, *others] for own, others in zip(bought, new, strict=True)]
    chosen, _ = made(every, Policy(top_n, share), bought=bought, new=new)
    for found, repeats, others in zip(chosen, bought, new, strict=True):
        expected, left, taken = [], list(repeats), list(others)
        for place in range(1, top_n + 1):
            wants_new = int(place * share + 0.5) > int((place - 1) * share + 0.5)
            source = (taken or left) if wants_new else (left or taken)
            if source:
                expected.append(source.pop(0))
        assert found == expected


WORLDS = st.fixed_dictionaries(
    {
        "ranking": st.lists(st.permutations(range(1, 13)).map(lambda p: p[:8]), min_size=1, max_size=3),
        "category": st.lists(st.integers(0, 3), min_size=13, max_size=13),
        "brand": st.lists(st.integers(0, 3), min_size=13, max_size=13),
        "barred": st.lists(st.sampled_from([0, 0, 0, 2, 7]), min_size=13, max_size=13),
        "bought": st.sets(st.integers(1, 12), max_size=6),
        "popular": st.permutations(range(1, 13)).flatmap(lambda p: st.integers(0, 12).map(lambda size: p[:size])),
        "share": st.sampled_from([None, 0.0, 0.4, 1.0]),
        "caps": st.tuples(st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2])),
        "top_n": st.integers(1, 8),
    }
)


def slow(order: list[int], bought: set[int], policy: Policy, rules: ItemRules) -> list[int]:
    """The list that a person would make of one order of products, place by place."""
    found: list[int] = []

    def fits(item: int) -> bool:
        if item in found or rules.barred[item]:
            return False
        for most, group in ((policy.max_per_category, rules.category), (policy.max_per_brand, rules.brand)):
            if most is not None and group[item] and sum(group[other] == group[item] for other in found) >= most:
                return False
        return True

    for place in range(1, policy.top_n + 1):
        fitting = [item for item in order if fits(item)]
        if policy.share_new is not None:
            share = policy.share_new
            wants_new = int(place * share + 0.5) > int((place - 1) * share + 0.5)
            fitting = [item for item in fitting if (item not in bought) == wants_new] or fitting
        if not fitting:
            break
        found.append(fitting[0])
    return found


@settings(deadline=None)
@given(WORLDS)
def test_lists_under_any_rules_are_those_that_a_person_would_make(world):
    rules = replace(
        ItemRules.none(NUM_ITEMS),
        barred=np.array(world["barred"], dtype=np.int8),
        category=np.array(world["category"]),
        brand=np.array(world["brand"]),
    )
    policy = Policy(world["top_n"], world["share"], *world["caps"])
    bought, popular = [sorted(world["bought"])] * len(world["ranking"]), world["popular"]
    new = [[item for item in order if item not in world["bought"]] for order in world["ranking"]]
    chosen, passed = made(world["ranking"], policy, rules, bought=bought, new=new, popular=popular)
    for row, (order, found) in enumerate(zip(world["ranking"], chosen, strict=True)):
        behind = [item for item in popular if item not in order]
        assert found == slow([*order, *behind], world["bought"], policy, rules)
        for most, group in ((policy.max_per_category, rules.category), (policy.max_per_brand, rules.brand)):
            counts = np.bincount(group[found], minlength=4)[1:]
            assert most is None or counts.max() <= most
        if policy.share_new is None:
            ranked = [item for item in found if item in order]
            assert ranked == [item for item in order if item in found]  # the order of the model stays
            reached = len(order) if len(ranked) < policy.top_n else order.index(ranked[-1])
            left_out = sum(item not in found for item in order[:reached])
            assert sum(counts[row] for counts in passed.values()) == left_out


@settings(deadline=None)
@given(st.lists(st.permutations(range(1, 13)), min_size=1, max_size=3), st.integers(1, 12))
def test_nothing_is_lost_where_no_rule_applies(ranking, top_n):
    assert made(ranking, Policy(top_n)) == ([list(order[:top_n]) for order in ranking], {})


def test_queries_in_parts_have_the_lists_they_have_together(monkeypatch):
    ranking = [[4, 2, 9, 7], [2, 4], [9, 7, 2, 4]]
    policy, rules = Policy(2, max_per_category=1), grouped({4: 1, 2: 1, 9: 2})
    whole = made(ranking, policy, rules, popular=(1, 3))
    monkeypatch.setattr("recsys_spark.recommendations.policy._CELLS", 1)
    assert made(ranking, policy, rules, popular=(1, 3)) == whole == ([[4, 9], [2, 1], [9, 7]], whole[1])
