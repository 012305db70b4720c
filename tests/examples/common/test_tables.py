import math

import pytest

from examples.common import tables


def test_a_spread_is_mean_and_deviation():
    assert tables.spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"
    assert tables.spread([0.5, 1.5], sign="+") == "+1.00 ± 0.71"
    assert tables.spread([0.25]) == "0.25"
    assert tables.spread([]) == ""


def test_a_table_is_markdown():
    assert tables.markdown(["a", "b"], [["1", "2"], ["3", ""]]) == "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |  |\n"


def test_the_interval_is_students():
    # Of 1, 2, 3: the quantile of t with two degrees of freedom is 4.303, the standard error 1 / √3.
    assert tables.interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert tables.interval([1.0]) == (-math.inf, math.inf)
