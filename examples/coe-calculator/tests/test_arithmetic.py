import re
from fractions import Fraction

import pytest
from coe_calculator._arithmetic import MAX_BITS, NoArithmetic, evaluate, find, written
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("What is 12 * (3 + 4)?", "84"),
        ("0.1 + 0.2", "0.3"),
        ("Please compute 2^64.", "18446744073709551616"),
        ("1,000,000 × 3 − 1", "2999999"),
        ("How much is 7 / 3 ?", "7/3 ≈ 2.333333333333"),
        ("-7 % 3", "2"),
        ("2 ** -2", "0.25"),
        ("Call 555 and tell me 6*7.", "42"),
        ("-1/3", "-1/3 ≈ -0.333333333333"),
        ("1 / 2^40", "1/1099511627776 ≈ 0.000000000001"),
    ],
)
def test_answers_exactly(prompt: str, answer: str) -> None:
    assert written(evaluate(find(prompt))) == answer


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("Tell me a joke.", "no arithmetic"),
        ("In 2024 there were 12 of them.", "no arithmetic"),
        ("1 / 0", "divided by zero"),
        ("5 % (2 - 2)", "divided by zero"),
        ("0 ** -1", "divided by zero"),
        ("(1 + 2", "not complete"),
        ("2 ** 0.5", "whole numbers"),
        ("9 ** 9 ** 9", "whole numbers"),
        ("(9 ** 999) ** 999", "too many digits"),
        ("1 // 2", "only"),
        ("1 + " * 100 + "1", "characters"),
        ("(" * 99 + "1+1" + ")" * 98, "not complete"),
    ],
)
def test_says_why_not(prompt: str, why: str) -> None:
    with pytest.raises(NoArithmetic, match=why):
        written(evaluate(find(prompt)))


_SUMS = st.recursive(
    st.integers(0, 10**6).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=6,
)


@given(_SUMS)
def test_agrees_with_python_on_fractions(expression: str) -> None:
    exact = re.sub(r"\d+", r"Fraction(\g<0>)", expression)
    try:
        expected = eval(exact, {"Fraction": Fraction})
    except ZeroDivisionError:
        with pytest.raises(NoArithmetic):
            evaluate(expression)
    else:
        assert evaluate(expression) == expected


@given(st.text(st.sampled_from("0123456789+-*/%^(). "), max_size=300))
def test_no_text_breaks_it_or_makes_it_large(text: str) -> None:
    try:
        value = evaluate(find(text))
    except NoArithmetic:
        return
    assert value.numerator.bit_length() + value.denominator.bit_length() <= MAX_BITS
    assert written(value)


@given(st.fractions(max_denominator=10**6))
def test_what_is_written_is_the_value(value: Fraction) -> None:
    exact = written(value).split(" ≈ ")[0]
    assert Fraction(exact) == value
