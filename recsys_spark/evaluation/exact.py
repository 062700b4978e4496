"""Sums of doubles that come out the same in any order of the addends, and so for any partitioning.

Adding rounds, each order in its own way. A sum of whole multiples of a power of two does not, as long as it needs no
more than the 53 bits of a double. So a value is parted into a coarse number, a multiple of 2^-12, and a fine rest, a
multiple of 2^-40, which are summed apart (after Demmel and Nguyen, "Fast reproducible floating-point summation", ARITH
2013, with bins that are fixed in advance). What a value has below 2^-40 (9e-13) is rounded off. The sum is exact up to
a magnitude of 2^41 (2.2e12) and 2^26 (67 million) addends, one of weight w counted w times; beyond, it is as good as
any sum of doubles.
"""

from __future__ import annotations

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

_COARSE = 2.0**12
_FINE = 2.0**40


def exact_sum(value: Column) -> Column:
    """Sum of a column of doubles, null where there is none."""
    coarse = F.rint(value * _COARSE)
    fine = F.rint(value * _FINE - coarse * (_FINE / _COARSE))
    return F.sum(coarse) / _COARSE + F.sum(fine) / _FINE


def coarse_and_fine(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coarse, fine) of doubles: sums of each are exact, and the two sums add up to that of the values."""
    coarse = np.rint(values * _COARSE) / _COARSE
    return coarse, np.rint((values - coarse) * _FINE) / _FINE
