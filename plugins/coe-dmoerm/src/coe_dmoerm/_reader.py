"""The `features` backbone: answers to numbers, without a network to run.

Blocks beside each other: facts (straight and bent), n-grams of words and of characters, meaning. Values of a
structured prompt are replaced by their keys before n-grams are counted, so that the way of saying is seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._facts import delexicalised, facts_of, read_source, sentences_of, slots, tokens_of
from coe_dmoerm._libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder
    from coe_dmoerm._items import Item

ALGORITHM = "facts+ngrams+meaning/1"
"""Changes when the same tensors would read an item otherwise."""

BLOCKS = ("facts", "bent", "words", "chars", "meaning")
BUCKETS = 1 << 13
_BENT = 512
_WIDTH = 0.3  # of the kernel that the bent facts approximate; the median squared distance is about 2
_CLIP = 4.0


@dataclass(frozen=True, slots=True)
class Raw:
    """What is read of n items before anything is learnt.

    Attributes:
        facts: float32[n, f].
        words, chars: counts of hashed n-grams, (buckets int64[m], counts float32[m]) of each item.
        meaning: float32[n, 3 · dim].
    """

    facts: NDArray[np.float32]
    words: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]
    chars: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]
    meaning: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> Raw:
        """Some of the items."""
        picked: list[int] = rows.tolist()
        return Raw(
            self.facts[rows],
            tuple(self.words[row] for row in picked),
            tuple(self.chars[row] for row in picked),
            self.meaning[rows],
        )

    def __len__(self) -> int:
        return len(self.facts)


def read_raw(items: Sequence[Item], embedder: Embedder) -> Raw:
    """Read items."""
    sources = {text: read_source(text) for item in items for text in (item.prompt, item.context)}
    facts: list[list[float]] = []
    words: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    chars: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for item in items:
        found = facts_of(item.response, item.prompt, sources[item.prompt], sources[item.context])
        facts.append(list(found.values()))
        bare = delexicalised(tokens_of(item.response), slots(item.prompt))
        words.append(_counted(_word_grams(bare)))
        chars.append(_counted(_char_grams(" ".join(bare))))
    meant, meaning = _meaning(items, embedder)
    columns = np.hstack([np.array(facts, np.float32).reshape(len(items), -1), meant])
    return Raw(columns, tuple(words), tuple(chars), meaning)


@dataclass(frozen=True, slots=True)
class Reader:
    """What was learnt of the features of one task. Made by `fit_reader`; saved with the model.

    Attributes:
        mean, scale: float32[f], of the facts.
        turns: float32[f, 512], shifts: float32[512]: random Fourier features of the facts.
        words_idf, chars_idf: float32[BUCKETS].
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    turns: NDArray[np.float32]
    shifts: NDArray[np.float32]
    words_idf: NDArray[np.float32]
    chars_idf: NDArray[np.float32]

    def blocks(self, raw: Raw) -> dict[str, Any]:
        """A matrix float[n, d] for each of `BLOCKS`, rows of about unit norm; n-grams are sparse."""
        facts = self.standard(raw) / np.sqrt(np.float32(raw.facts.shape[1]))
        bent = np.cos(facts @ self.turns + self.shifts) * np.sqrt(np.float32(2 / self.turns.shape[1]))
        return {
            "facts": facts,
            "bent": bent,
            "words": _weighed(raw.words, self.words_idf),
            "chars": _weighed(raw.chars, self.chars_idf),
            "meaning": raw.meaning,
        }

    def standard(self, raw: Raw) -> NDArray[np.float32]:
        """The facts, of mean 0 and variance 1 in training, none far out: float32[n, f]."""
        return np.clip((raw.facts - self.mean) / self.scale, -_CLIP, _CLIP)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What makes it up."""
        return {name: getattr(self, name) for name in self.__slots__}


def fit_reader(raw: Raw, rng: np.random.Generator) -> Reader:
    """Learn scales and weights of features. Source of the bent facts: Rahimi and Recht 2007."""
    spread = raw.facts.std(axis=0)
    columns = raw.facts.shape[1]
    return Reader(
        raw.facts.mean(axis=0),
        # A fact that never varied in training says nothing about a strange answer.
        np.where(spread > 1e-6, spread, 1e6).astype(np.float32),
        rng.normal(0, np.sqrt(2 * _WIDTH), (columns, _BENT)).astype(np.float32),
        rng.uniform(0, 2 * np.pi, _BENT).astype(np.float32),
        _idf(raw.words),
        _idf(raw.chars),
    )


def _idf(counted: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> NDArray[np.float32]:
    seen = np.zeros(BUCKETS)
    for buckets, _ in counted:
        seen[buckets] += 1
    return (np.log((1 + len(counted)) / (1 + seen)) + 1).astype(np.float32)


def _weighed(
    counted: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]], idf: NDArray[np.float32]
) -> Any:
    values: list[NDArray[np.float32]] = []
    for buckets, counts in counted:
        row = np.log1p(counts) * idf[buckets]
        values.append(row / max(float(np.linalg.norm(row)), 1e-9))
    starts = np.cumsum([0, *(len(buckets) for buckets, _ in counted)])
    columns = [buckets for buckets, _ in counted]
    empty = np.zeros(0, np.float32)
    return library("scipy.sparse").csr_array(
        (np.concatenate([empty, *values]), np.concatenate([starts[:0], *columns]), starts),
        shape=(len(counted), BUCKETS),
    )


def _counted(grams: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    hashed = np.array([zlib.crc32(gram.encode(errors="replace")) % BUCKETS for gram in grams], np.int64)
    buckets, counts = np.unique(hashed, return_counts=True)
    return buckets, counts.astype(np.float32)


def _word_grams(tokens: Sequence[str]) -> Iterable[str]:
    fenced = ["<s>", *tokens, "</s>"]
    for n in (1, 2, 3):
        for gram in zip(*(fenced[at:] for at in range(n)), strict=False):
            yield " ".join(gram)


def _char_grams(text: str) -> Iterable[str]:
    for n in (3, 4, 5):
        for at in range(len(text) - n + 1):
            yield text[at : at + n]


def _meaning(items: Sequence[Item], embedder: Embedder) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How near an answer is to what was asked, float32[n, 9]; vector and products, float32[n, 3 · dim]."""
    known: dict[str, NDArray[np.float32]] = {}

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, embedder.embed(new), strict=True))
        return np.array([known[text] for text in texts], np.float32).reshape(len(texts), embedder.dim)

    answers = vectors([item.response for item in items])
    prompts, contexts = (vectors([getattr(item, name) for item in items]) for name in ("prompt", "context"))
    turns = vectors([item.prompt.strip().rpartition("\n")[2] for item in items])
    near = np.stack([(answers * other).sum(axis=1) for other in (prompts, contexts, turns)], axis=1)
    between = (prompts * contexts).sum(axis=1, keepdims=True)
    told = [_flow(item.response, prompt, embedder) for item, prompt in zip(items, prompts, strict=True)]
    facts = np.hstack([near, between, np.array(told, np.float32).reshape(len(items), 5)])
    # A product of unit vectors is short: brought to the length of the answer's own.
    stretch = np.float32(np.sqrt(embedder.dim) / 2)
    vector = np.hstack([answers, answers * prompts * stretch, answers * turns * stretch])
    return facts.astype(np.float32), vector.astype(np.float32)


def _flow(response: str, prompt: NDArray[np.float32], embedder: Embedder) -> list[float]:
    """Nearness of sentences to the prompt (least, mean, first) and to each other (least, mean)."""
    sentences = [" ".join(each) for each in sentences_of(tokens_of(response))]
    if not sentences:
        return [0.0] * 5
    vectors = embedder.embed(sentences)
    near = vectors @ prompt
    on = (vectors[1:] * vectors[:-1]).sum(axis=1) if len(vectors) > 1 else np.array([0.5], np.float32)
    return [float(each) for each in (near.min(), near.mean(), near[0], on.min(), on.mean())]
