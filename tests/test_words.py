"""Numbers as they are shown."""

from hypothesis import given
from hypothesis import strategies as st

from viewrace.report.words import interval, number


@given(value=st.floats(-100, 100))
def test_no_number_but_round_off_is_shown_as_zero(value):
    shown = number(value)
    assert (float(shown) == 0) == (abs(value) <= 1e-12)
    assert abs(float(shown) - value) <= max(0.0005 * (1 + 1e-9), 0.05 * abs(value))


def test_zero_has_no_sign_and_an_interval_has_brackets():
    assert number(-0.0) == number(-1.4e-17) == "0.000"
    assert interval(0.34, 0.338, 0.00004) == "0.340 [0.338, 4.0e-05]"
