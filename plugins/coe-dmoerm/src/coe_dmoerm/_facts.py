"""Facts about an answer that need no model: how long it is, what it copies, what it makes up, how it reads.

Everything is counted over lower-case words and signs. `source` is the prompt and the context together.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from coe_dmoerm._words import DANGLING, FIRST_PERSON, NEGATIONS, PRONOUNS, SECOND_PERSON, STOP_WORDS

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = frozenset(".!?")
_SLOT = re.compile(r"(\w+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^,()'\"]+))")
_ACT = re.compile(r"\s*\??(\w+)\(")
_NO_VALUES = frozenset(("", "yes", "no", "none", "dont_care", "yes or no"))
_ARTICLES = frozenset(("a", "an", "the"))


@dataclass(frozen=True, slots=True)
class Source:
    """One text that an answer is held against.

    Attributes:
        tokens: lower-case words and signs.
        grams: the n-grams of one to four tokens.
        first: where each n-gram of four tokens first occurs, 0..1.
    """

    tokens: tuple[str, ...]
    grams: tuple[frozenset[tuple[str, ...]], ...]
    first: dict[tuple[str, ...], float]


def tokens_of(text: str) -> list[str]:
    """Lower-case words and signs."""
    return _TOKEN.findall(text.lower())


def read_source(text: str) -> Source:
    """Read a text that answers are held against."""
    tokens = tokens_of(text)
    grams = tuple(frozenset(_grams(tokens, n)) for n in (1, 2, 3, 4))
    first: dict[tuple[str, ...], float] = {}
    for at, gram in enumerate(_grams(tokens, 4)):
        first.setdefault(gram, at / max(len(tokens), 1))
    return Source(tuple(tokens), grams, first)


def sentences_of(tokens: Sequence[str]) -> list[list[str]]:
    """Sentences of at least one word."""
    found: list[list[str]] = []
    current: list[str] = []
    for token in tokens:
        current.append(token)
        if token in _SENTENCE_END:
            found.append(current)
            current = []
    if current:
        found.append(current)
    return [each for each in found if any(token[0].isalnum() for token in each)]


def slots(prompt: str) -> list[tuple[str, str]]:
    """Keys and values of a structured prompt, `act(key='value', …)`, lower-case; none of any other prompt."""
    if not _ACT.match(prompt):
        return []
    found = _SLOT.findall(prompt[:4000])
    return [(key.lower(), " ".join(tokens_of(one or other or bare))) for key, one, other, bare in found]


def delexicalised(tokens: Sequence[str], found: Sequence[tuple[str, str]]) -> list[str]:
    """The tokens with the values of slots replaced by `<key>`: what is left is how they are told."""
    text = f" {' '.join(tokens)} "
    for key, value in sorted(found, key=lambda slot: -len(slot[1])):
        if value not in _NO_VALUES:
            text = text.replace(f" {value} ", f" <{key}> ")
    return text.split()


def facts_of(response: str, prompt: str, prompt_source: Source, context_source: Source) -> dict[str, float]:
    """The facts about one answer, by name."""
    tokens = tokens_of(response)
    words = [token for token in tokens if token[0].isalnum()]
    sentences = sentences_of(tokens)
    facts = {
        **_length(response, words, sentences, prompt_source, context_source),
        **_copied("prompt", tokens, prompt_source),
        **_copied("context", tokens, context_source),
        **_turn(tokens, prompt),
        **_extracts(tokens, prompt_source),
        **_made_up(tokens, words, prompt_source, context_source),
        **_told(tokens, prompt),
        **_repeated(tokens, words, sentences),
        **_sentences(sentences, prompt_source),
        **_form(response, tokens, words),
    }
    return facts


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[at:] for at in range(n)), strict=False))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _length(
    response: str, words: Sequence[str], sentences: Sequence[Sequence[str]], prompt: Source, context: Source
) -> dict[str, float]:
    sizes = [len(each) for each in sentences] or [0]
    return {
        "log_words": math.log1p(len(words)),
        "log_chars": math.log1p(len(response)),
        "words/30": min(len(words) / 30, 10),
        "sentences": min(len(sentences), 10),
        "longest_sentence": math.log1p(max(sizes)),
        "shortest_sentence": math.log1p(min(sizes)),
        "mean_sentence": math.log1p(sum(sizes) / len(sizes)),
        "last_sentence": math.log1p(sizes[-1]),
        "log_prompt": math.log1p(len(prompt.tokens)),
        "log_context": math.log1p(len(context.tokens)),
        "log_ratio": math.log1p(len(words)) - math.log1p(len(prompt.tokens)),
        "word_length": _share(sum(map(len, words)), len(words)),
    }


def _copied(name: str, tokens: Sequence[str], source: Source) -> dict[str, float]:
    facts: dict[str, float] = {}
    for n, known in enumerate(source.grams, 1):
        grams = _grams(tokens, n)
        facts[f"{name}_copied{n}"] = _share(sum(gram in known for gram in grams), len(grams))
    content = {token for token in tokens if token[0].isalnum() and token not in STOP_WORDS}
    of_source = {gram[0] for gram in source.grams[0] if gram[0][0].isalnum() and gram[0] not in STOP_WORDS}
    facts[f"{name}_content"] = _share(len(content & of_source), len(content))
    facts[f"{name}_recall"] = _share(len(content & of_source), len(of_source))
    facts[f"{name}_overlap"] = math.log1p(len(content & of_source))
    return facts


def _turn(tokens: Sequence[str], prompt: str) -> dict[str, float]:
    turns = [turn for turn in prompt.split("\n") if turn.strip()]
    last = tokens_of(turns[-1]) if turns else []
    before = tokens_of(turns[-2]) if len(turns) > 1 else []
    content = {token for token in tokens if token[0].isalnum() and token not in STOP_WORDS}
    facts = {"turns": min(len(turns), 20), "last_turn_asks": float("?" in last)}
    for name, other in (("last_turn", last), ("turn_before", before)):
        theirs = {token for token in other if token[0].isalnum() and token not in STOP_WORDS}
        facts[f"{name}_content"] = _share(len(content & theirs), len(content))
        facts[f"{name}_overlap"] = math.log1p(len(content & theirs))
        facts[f"{name}_recall"] = _share(len(content & theirs), len(theirs))
        theirs_grams = set(_grams(other, 3))
        facts[f"{name}_trigrams"] = _share(
            sum(g in theirs_grams for g in _grams(tokens, 3)), max(len(tokens) - 2, 0)
        )
    return facts


def _extracts(tokens: Sequence[str], source: Source) -> dict[str, float]:
    """Runs of four tokens and more that stand in the source, and where."""
    fours = _grams(tokens, 4)
    places = [source.first.get(gram) for gram in fours]
    runs: list[int] = []
    length = 0
    for place in places:
        if place is None:
            if length:
                runs.append(length + 3)
            length = 0
        else:
            length += 1
    if length:
        runs.append(length + 3)
    found = [place for place in places if place is not None]
    jumps = [abs(b - a) for a, b in itertools.pairwise(found)]
    return {
        "longest_run": math.log1p(max(runs, default=0)),
        "runs": math.log1p(len(runs)),
        "density": _share(math.sqrt(sum(run * run for run in runs)), len(tokens)),
        "place": _share(sum(found), len(found)),
        "first_place": found[0] if found else 0.0,
        "last_place": found[-1] if found else 0.0,
        "backwards": _share(sum(b < a for a, b in itertools.pairwise(found)), len(found)),
        "jump": max(jumps, default=0.0),
        "lead": float(bool(found) and found[0] == 0),
    }


def _made_up(
    tokens: Sequence[str], words: Sequence[str], prompt: Source, context: Source
) -> dict[str, float]:
    known = {gram[0] for gram in prompt.grams[0] | context.grams[0]}
    new = [word for word in words if word not in known]
    content = [word for word in new if word not in STOP_WORDS]
    numbers = [word for word in words if any(map(str.isdigit, word))]
    strange_pairs = [
        gram
        for gram in _grams(tokens, 2)
        if gram not in prompt.grams[1]
        and gram not in context.grams[1]
        and gram[0] in known
        and gram[1] in known
    ]
    return {
        "new_words": _share(len(new), len(words)),
        "log_new_content": math.log1p(len(content)),
        "new_content": _share(len(content), len(words)),
        "numbers": math.log1p(len(numbers)),
        "new_numbers": math.log1p(sum(word not in known for word in numbers)),
        "any_new_number": float(any(word not in known for word in numbers)),
        "spliced": _share(len(strange_pairs), len(tokens)),
        "log_spliced": math.log1p(len(strange_pairs)),
        "negations": math.log1p(sum(word in NEGATIONS for word in words)),
    }


def _told(tokens: Sequence[str], prompt: str) -> dict[str, float]:
    """How the answer tells the values of a structured prompt, `act(key='value', …)`."""
    found = slots(prompt)
    values = [value for _, value in found if value not in _NO_VALUES]
    bare = delexicalised(tokens, found)
    text = f" {' '.join(tokens)} "
    missing = sum(f" {value} " not in text for value in values)
    places = [bare.index(f"<{key}>") for key, _ in found if f"<{key}>" in bare]
    structured = float(bool(found))
    first = bare[0] if bare else ""
    told = {
        "slots": len(found),
        "values": len(values),
        "values_told": 1 - _share(missing, len(values)),
        "values_missing": min(missing, 5),
        "bare_words": math.log1p(len(bare)),
        "bare_per_slot": len(bare) / (len(found) + 1),
        "in_order": float(places == sorted(places)),
        "starts_with_value": float(first.startswith("<")),
        "starts_with_the": float(first == "the"),
        "starts_with_there": float(first == "there"),
        "early_comma": float("," in bare[:3]),
        "bare_commas": bare.count(","),
        "bare_ands": bare.count("and"),
        "bare_ends": sum(token in _SENTENCE_END for token in bare),
    }
    return {"structured": structured, **{name: value * structured for name, value in told.items()}}


def _repeated(
    tokens: Sequence[str], words: Sequence[str], sentences: Sequence[Sequence[str]]
) -> dict[str, float]:
    facts: dict[str, float] = {}
    for n in (1, 2, 3):
        grams = _grams(words, n)
        facts[f"distinct{n}"] = _share(len(set(grams)), len(grams))
    content = [word for word in words if word not in STOP_WORDS]
    facts["content_repeated"] = _share(len(content) - len(set(content)), len(content))
    facts["most_common"] = _share(max(Counter(content).values(), default=0), len(content))
    facts["stutter"] = min(sum(a == b for a, b in itertools.pairwise(tokens)), 5)
    facts["echo"] = min(sum(a == b for a, b in zip(tokens, tokens[2:], strict=False) if a[0].isalnum()), 5)
    sets = [
        {word for word in sentence if word not in STOP_WORDS and word[0].isalnum()} for sentence in sentences
    ]
    alike = [_share(len(a & b), len(a | b)) for at, a in enumerate(sets) for b in sets[:at]]
    near = [_share(len(a & b), min(len(a), len(b))) for a, b in itertools.pairwise(sets)]
    facts["sentences_alike"] = max(alike, default=0.0)
    facts["neighbours_share"] = _share(sum(near), len(near))
    facts["neighbours_share_least"] = min(near, default=0.0)
    return facts


def _sentences(sentences: Sequence[Sequence[str]], source: Source) -> dict[str, float]:
    """How the sentences are taken from the source."""
    shares = [_share(sum(g in source.grams[1] for g in _grams(s, 2)), max(len(s) - 1, 0)) for s in sentences]
    threes = [_share(sum(g in source.grams[2] for g in _grams(s, 3)), max(len(s) - 2, 0)) for s in sentences]
    starts = [sentence[0] for sentence in sentences]
    return {
        "least_copied": min(shares, default=0.0),
        "mean_copied": _share(sum(shares), len(shares)),
        "least_copied3": min(threes, default=0.0),
        "whole_copies": _share(sum(share > 0.95 for share in threes), len(threes)),
        "last_copied": shares[-1] if shares else 0.0,
        "first_copied": shares[0] if shares else 0.0,
        "pronoun_start": float(bool(starts) and starts[0] in PRONOUNS),
        "pronoun_starts": _share(sum(start in PRONOUNS for start in starts), len(starts)),
        "same_starts": _share(len(starts) - len(set(starts)), len(starts)),
        "dangling": _share(
            sum(len(s) > 1 and (s[-2] if s[-1] in _SENTENCE_END else s[-1]) in DANGLING for s in sentences),
            len(sentences),
        ),
    }


def _form(response: str, tokens: Sequence[str], words: Sequence[str]) -> dict[str, float]:
    stripped = response.strip()
    size = max(len(tokens), 1)
    return {
        "ends": float(stripped[-1:] in (".", "?", "!", '"', "'")),
        "capital": float(stripped[:1].isupper()),
        "lines": math.log1p(response.count("\n")),
        "commas": tokens.count(",") / size,
        "asks": min(tokens.count("?"), 3),
        "exclaims": min(tokens.count("!"), 3),
        "signs": sum(not token[0].isalnum() for token in tokens) / size,
        "digits": sum(map(str.isdigit, response)) / max(len(response), 1),
        "capitals": sum(map(str.isupper, response)) / max(len(response), 1),
        "unbalanced": float(stripped.count("(") != stripped.count(")")),
        "quotes_odd": float(stripped.count('"') % 2),
        "stop_words": _share(sum(word in STOP_WORDS for word in words), len(words)),
        "articles": _share(sum(word in _ARTICLES for word in words), len(words)),
        "pronouns": _share(sum(word in PRONOUNS for word in words), len(words)),
        "first_person": _share(sum(word in FIRST_PERSON for word in words), len(words)),
        "second_person": _share(sum(word in SECOND_PERSON for word in words), len(words)),
        "list_items": math.log1p(len(re.findall(r"(?m)^\s*(?:[-*•]|\d+[.)])\s", response))),
        "code": float("```" in response),
        "unknown_signs": float(any(mark in response for mark in ("<unk>", "UNK", "[unk]", "�"))),
    }
