"""The `features` backbone: answers to numbers, without a network to run.

Blocks beside each other: facts (some by what others say; straight and bent), n-grams of words and of
characters, meaning. Values of a structured prompt are replaced by their keys before n-grams are counted, so
that the way of saying is seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._corpus import FACTS, Grams, add, counted, facts_by, grams_of
from coe_dmoerm._facts import delexicalised, facts_of, read_source, sentences_of, slots, tokens_of
from coe_dmoerm._libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder
    from coe_dmoerm._items import Item

ALGORITHM = "facts+corpus+ngrams+meaning/2"
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
        said, plain: hashed n-grams of each answer, with values of a structured prompt replaced and as it is.
        given: hashed n-grams of the sentences of each item's prompt and context; none of a structured prompt.
    """

    facts: NDArray[np.float32]
    words: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]
    chars: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]
    meaning: NDArray[np.float32]
    said: tuple[Grams, ...]
    plain: tuple[Grams, ...]
    given: tuple[tuple[Grams, ...], ...]

    def take(self, rows: NDArray[np.int64]) -> Raw:
        """Some of the items."""
        picked: list[int] = rows.tolist()
        return Raw(
            self.facts[rows],
            tuple(self.words[row] for row in picked),
            tuple(self.chars[row] for row in picked),
            self.meaning[rows],
            tuple(self.said[row] for row in picked),
            tuple(self.plain[row] for row in picked),
            tuple(self.given[row] for row in picked),
        )

    def __len__(self) -> int:
        return len(self.facts)


def read_raw(items: Sequence[Item], embedder: Embedder) -> Raw:
    """Read items."""
    sources = {text: read_source(text) for item in items for text in (item.prompt, item.context)}
    shown = {text: _shown(text) for text in sources}
    facts: list[list[float]] = []
    said: list[Grams] = []
    plain: list[Grams] = []
    words: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    chars: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for item in items:
        found = facts_of(item.response, item.prompt, sources[item.prompt], sources[item.context])
        facts.append(list(found.values()))
        tokens = tokens_of(item.response)
        bare = delexicalised(tokens, slots(item.prompt))
        said.append(grams_of(bare))
        plain.append(said[-1] if bare == tokens else grams_of(tokens))
        words.append(_counted(_word_grams(bare)))
        chars.append(_counted(_char_grams(" ".join(bare))))
    meant, meaning = _meaning(items, embedder)
    columns = np.hstack([np.array(facts, np.float32).reshape(len(items), -1), meant])
    given = tuple((*shown[item.prompt], *shown[item.context]) for item in items)
    return Raw(columns, tuple(words), tuple(chars), meaning, tuple(said), tuple(plain), given)


def _shown(text: str) -> tuple[Grams, ...]:
    return () if slots(text) else tuple(grams_of(each) for each in sentences_of(tokens_of(text)))


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader makes of n items.

    Attributes:
        blocks: a matrix float[n, d] for each of `BLOCKS`, rows of about unit norm; n-grams are sparse.
        standard: float32[n, f], the facts, of mean 0 and variance 1 in training.
    """

    blocks: Mapping[str, Any]
    standard: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> Read:
        """Some of the items."""
        return Read({name: block[rows] for name, block in self.blocks.items()}, self.standard[rows])


@dataclass(frozen=True, slots=True)
class Reader:
    """What was learnt of the features of one task. Made by `fit_reader`; saved with the model.

    Attributes:
        said, given: float32[4, SLOTS], n-grams of the answers and of what was given in training.
        mean, scale: float32[f], of the facts, those by these tables last.
        turns: float32[f, 512], shifts: float32[512]: random Fourier features of the facts.
        words_idf, chars_idf: float32[BUCKETS].
    """

    said: NDArray[np.float32]
    given: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    turns: NDArray[np.float32]
    shifts: NDArray[np.float32]
    words_idf: NDArray[np.float32]
    chars_idf: NDArray[np.float32]

    def read(self, raw: Raw) -> Read:
        """Read items that were not learnt from."""
        return self.read_scaled(raw, self.standard(raw))

    def read_scaled(self, raw: Raw, standard: NDArray[np.float32]) -> Read:
        """Read items whose scaled facts float32[n, f] are known."""
        facts = standard / np.sqrt(np.float32(standard.shape[1]))
        bent = np.cos(facts @ self.turns + self.shifts) * np.sqrt(np.float32(2 / self.turns.shape[1]))
        blocks = {
            "facts": facts,
            "bent": bent,
            "words": _weighed(raw.words, self.words_idf),
            "chars": _weighed(raw.chars, self.chars_idf),
            "meaning": raw.meaning,
        }
        return Read(blocks, standard)

    def standard(self, raw: Raw) -> NDArray[np.float32]:
        """The facts, of mean 0 and variance 1 in training, none far out: float32[n, f]."""
        totals = (float(self.said[0].sum()), float(self.given[0].sum()))
        told = [
            _by_corpus(self.said, self.given, totals, *each) for each in zip(raw.said, raw.plain, strict=True)
        ]
        return _scaled(_joined(raw, told), self.mean, self.scale)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What makes it up."""
        return {name: getattr(self, name) for name in self.__slots__}


def fit_reader(raw: Raw, prompts: NDArray[np.int64], rng: np.random.Generator) -> tuple[Reader, Read]:
    """Learn scales and weights of features. Returns what it makes of these items beside it.

    The answers that it learns from are held against what other prompts' answers say, not against
    themselves: their facts are not what the reader would say of them as of new ones.

    Args:
        raw: n items.
        prompts: int64[n], equal for answers to the same prompt.
        rng: draws the bent facts. Source: Rahimi and Recht 2007.
    """
    rows_of = {prompt: np.flatnonzero(prompts == prompt).tolist() for prompt in np.unique(prompts).tolist()}
    said = counted(raw.said)
    given = counted(sentence for rows in rows_of.values() for sentence in raw.given[rows[0]])
    told: list[list[float]] = [[] for _ in range(len(raw))]
    for rows in rows_of.values():
        own = [(said, raw.said[row]) for row in rows] + [(given, each) for each in raw.given[rows[0]]]
        for table, grams in own:
            add(table, grams, -1.0)
        totals = (float(said[0].sum()), float(given[0].sum()))
        for row in rows:
            told[row] = _by_corpus(said, given, totals, raw.said[row], raw.plain[row])
        for table, grams in own:
            add(table, grams, 1.0)
    facts = _joined(raw, told)
    columns = facts.shape[1]
    mean, spread = facts.mean(axis=0), facts.std(axis=0)
    # A fact that never varied in training says nothing about a strange answer.
    scale = np.where(spread > 1e-6, spread, 1e6).astype(np.float32)
    reader = Reader(
        said,
        given,
        mean,
        scale,
        rng.normal(0, np.sqrt(2 * _WIDTH), (columns, _BENT)).astype(np.float32),
        rng.uniform(0, 2 * np.pi, _BENT).astype(np.float32),
        _idf(raw.words),
        _idf(raw.chars),
    )
    return reader, reader.read_scaled(raw, _scaled(facts, mean, scale))


def _by_corpus(
    said: NDArray[np.float32],
    given: NDArray[np.float32],
    totals: tuple[float, float],
    bare: Grams,
    plain: Grams,
) -> list[float]:
    # Without texts (structured prompts) the second table is empty, and its facts say nothing.
    by_given = facts_by(given, totals[1], plain) if totals[1] else [0.0] * FACTS
    return [*facts_by(said, totals[0], bare), *by_given]


def _joined(raw: Raw, told: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    return np.hstack([raw.facts, np.array(told, np.float32).reshape(len(raw), 2 * FACTS)])


def _scaled(
    facts: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.clip((facts - mean) / scale, -_CLIP, _CLIP)


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
