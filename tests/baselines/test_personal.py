"""What a customer bought before, in an order that stays however long ago that was."""

import pytest

from recsys_spark.baselines.personal import PersonalFrequency
from recsys_spark.baselines.ranking import best_first
from tests.candidates.tower_folders import histories
from tests.support.models import GivenScores

HALF_LIFE = 60.0
BOUGHT = [(0, 5), (30, 5), (60, 7), (80, 3), (90, 9)]  # day and item


@pytest.mark.parametrize("day", [91, 91 + 365, 91 + 5000])
def test_scores_are_halved_by_every_half_life_before_the_customers_last_purchase(day):
    model = PersonalFrequency(GivenScores(()), HALF_LIFE)
    [(items, scores)] = best_first(model.score(histories(BOUGHT, day=day)), 1)
    assert items.tolist() == [9, 3, 5, 7]  # 5 was bought twice: 2 ** -1.5 + 2 ** -1
    assert scores.tolist() == pytest.approx([1, 2 ** (-10 / 60), 2**-1.5 + 2**-1, 2**-0.5], abs=1e-6)


def test_a_customer_without_purchases_has_no_scores():
    assert len(PersonalFrequency(GivenScores(()), HALF_LIFE).score(histories([], BOUGHT)).items) == 4
