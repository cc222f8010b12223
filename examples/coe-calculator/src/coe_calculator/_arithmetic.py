"""Arithmetic in a prompt: find it, evaluate it exactly, write it down. Pure functions.

Nothing is executed: the text is parsed to a syntax tree, of which a few node types are understood. Every
step is bounded, so that no prompt can make the evaluation slow or its result large.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

MAX_CHARACTERS = 200
MAX_BITS = 4096
MAX_EXPONENT = 1024
DECIMALS = 12

_SYMBOLS = str.maketrans({"×": "*", "÷": "/", "−": "-", "^": "**"})
_RUN = re.compile(r"[-+*/%().\d\s]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_SUM = re.compile(r"[\d.)]\s*[-+*/%]+\s*[-+.(\d]")

_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: Fraction.__truediv__,
    ast.Mod: operator.mod,
}


class NoArithmetic(ValueError):
    """The text holds no arithmetic that can be evaluated. The message says why, for the caller to read."""


def find(text: str) -> str:
    """The longest stretch of the text that is a sum, in Python's notation.

    Raises:
        NoArithmetic: there is none, or it is longer than `MAX_CHARACTERS`.
    """
    plain = _THOUSANDS.sub("", text.translate(_SYMBOLS))
    # A full stop behind the sum ends the sentence.
    runs = [run.strip().rstrip(".") for run in _RUN.findall(plain)]
    sums = [run for run in runs if _SUM.search(run)]
    if not sums:
        raise NoArithmetic("there is no arithmetic in the prompt")
    longest = max(sums, key=len)
    if len(longest) > MAX_CHARACTERS:
        raise NoArithmetic(f"the sum has {len(longest)} characters, and {MAX_CHARACTERS} are allowed")
    return longest


def evaluate(expression: str) -> Fraction:
    """The exact value.

    Raises:
        NoArithmetic: not a sum, a division by zero, or a result beyond `MAX_BITS`.
    """
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, MemoryError):  # MemoryError: parentheses nested too deeply.
        raise NoArithmetic(f"`{expression}` is not complete") from None
    return _value(tree.body)


def written(value: Fraction) -> str:
    """The value as people write it: digits when it ends, else a fraction and its beginning."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    digits = _decimal(value)
    return digits if rest == 1 and Fraction(digits) == value else f"{value} ≈ {digits}"


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            # From the digits, not from the float: 0.1 is one tenth here.
            return _bounded(Fraction(ast.unparse(node)))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            try:
                return _bounded(_BINARY[type(op)](_value(left), _value(right)))
            except ZeroDivisionError:
                raise NoArithmetic("nothing can be divided by zero") from None
        case _:
            raise NoArithmetic("only + - * / % ^ and parentheses are understood")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
        raise NoArithmetic(f"exponents are whole numbers up to {MAX_EXPONENT}")
    if base == 0 and exponent < 0:
        raise NoArithmetic("nothing can be divided by zero")
    # Before it is computed: afterwards would be too late.
    if _bits(base) * abs(exponent.numerator) > 2 * MAX_BITS:
        raise NoArithmetic("the result has too many digits")
    return _bounded(base**exponent.numerator)


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise NoArithmetic("the result has too many digits")
    return value


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _decimal(value: Fraction) -> str:
    scaled = round(abs(value) * 10**DECIMALS)
    whole, part = divmod(scaled, 10**DECIMALS)
    digits = f"{whole}.{part:0{DECIMALS}d}".rstrip("0").rstrip(".")
    return f"-{digits}" if value < 0 and scaled else digits
