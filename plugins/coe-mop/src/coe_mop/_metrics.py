"""How an answer is scored against the right ones: 0..1, the best over all right answers."""

from __future__ import annotations

import importlib
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from coe.errors import ConfigError, DataError, PluginError

Metric = Callable[[str, str], float]
"""(answer, right answer) to a score in 0..1."""

_ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(r"[^\W_]+")
_SIGNS = str.maketrans("", "", string.punctuation)


def exact(answer: str, right: str) -> float:
    """The same text, but for white space around it."""
    return float(answer.strip() == right.strip())


def normalise(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces.

    What would leave nothing is not taken away: option (A) is no article, and brackets may be the answer.
    """
    words = text.lower().translate(_SIGNS).split() or text.lower().split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def normalised(answer: str, right: str) -> float:
    """The same text after `normalise`."""
    return float(normalise(answer) == normalise(right))


def contains(answer: str, right: str) -> float:
    """The right answer's words stand in the answer, in order and together, after `normalise`."""
    return float(f" {normalise(right)} " in f" {normalise(answer)} ")


def f1(answer: str, right: str) -> float:
    """Harmonic mean of precision and recall over normalised words."""
    given, wanted = Counter(normalise(answer).split()), Counter(normalise(right).split())
    common = sum((given & wanted).values())
    if not common:
        return float(given == wanted)
    return 2 * common / (sum(given.values()) + sum(wanted.values()))


def same_set(answer: str, right: str) -> float:
    """The same comma-separated items, in any order."""
    given, wanted = ({normalise(item) for item in text.split(",")} for text in (answer, right))
    return float(given == wanted)


def _rouge_l() -> Metric:
    """ROUGE-L F1 over words in lower case, without stemming; the longest common subsequence by rapidfuzz."""
    try:
        from rapidfuzz.distance import LCSseq
    except ImportError as error:
        raise PluginError(
            "The metric rouge-l needs rapidfuzz.", hint="pip install 'coe-mop[rouge]'"
        ) from error

    def metric(answer: str, right: str) -> float:
        given, wanted = (_WORD.findall(text.lower()) for text in (answer, right))
        common = LCSseq.similarity(given, wanted)
        return 2 * common / (len(given) + len(wanted)) if common else 0.0

    return metric


NAMED: dict[str, Callable[[], Metric]] = {
    "exact": lambda: exact,
    "normalised": lambda: normalised,
    "contains": lambda: contains,
    "f1": lambda: f1,
    "set": lambda: same_set,
    "rouge-l": _rouge_l,
}


def find_metric(name: str) -> Metric:
    """A metric by name, or a user's function as `module:function`.

    Raises:
        ConfigError: no such metric, module or function.
        PluginError: the library that it needs is not installed.
    """
    if name in NAMED:
        return NAMED[name]()
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigError(f"Unknown metric `{name}`.", hint=f"Known: {', '.join(NAMED)}, or module:function.")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The metric `{name}` cannot be imported: {error}.") from error
    if not callable(found):
        raise ConfigError(f"The metric `{name}` is {type(found).__name__}, not a function.")
    function: Callable[[str, str], float] = cast("Any", found)
    return lambda answer, right: float(function(answer, right))


def score(metric: Metric, answer: str, outputs: Sequence[str]) -> float:
    """The best score over the right answers. Raises `DataError` for one outside 0..1."""
    best = max(metric(answer, right) for right in outputs)
    if not 0 <= best <= 1:
        raise DataError(f"A metric gave {best}; expected a number from 0 to 1.")
    return best
