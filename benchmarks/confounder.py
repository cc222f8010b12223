"""Words in front of or behind any prompt that drive it to an expensive expert: found, measured, defended.

    OMP_NUM_THREADS=1 python benchmarks/confounder.py [--only built-in|llmrouter] [--json FILE] [--seed 0]

The attack is that of arXiv 2501.01818 ("Rerouting LLM Routers"): one gadget, searched on some prompts by
climbing over words, put before, behind or around prompts that the search has not seen. The attacker knows the
router, and asks it as often as he likes; `adaptive` says that he knows the defence too. The rate of
success is the share of the held-out prompts that went to a cheap expert without the gadget and go to an
expensive one with it. Intervals are Wilson's, 95%. `llmrouter` needs the folder named by COE_DATA.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recorded import load, split
from rich.console import Console
from rich.table import Table

from coe.contracts import GENERAL, Card, Features, Plugin
from coe.testing import build, create, pool_view
from coe.testing import load as load_plugin
from coe_routers.features import StaticEmbedder
from coe_routers.offline import TrainOptions, train
from coe_routers.routing import TwoStepRouter

sys.path.append(str(Path(__file__).parents[1] / "routers" / "build_builtin"))
from own_prompts import read_own

SEARCHED_ON = 40
VOCABULARY = 3000
SHORT_LIST = 80
TRIES = 10
EXPENSIVE = ("coding", "math", "reasoning", "science")
"""Categories of the built-in classifier that a costly expert serves in this measurement."""
PLACES: dict[str, Callable[[str, str], str]] = {
    "before": lambda gadget, prompt: f"{gadget} {prompt}",
    "behind": lambda gadget, prompt: f"{prompt} {gadget}",
    "around": lambda gadget, prompt: f"{gadget} {prompt} {gadget}",
}


@dataclass(frozen=True)
class Target:
    """A router that is attacked, and prompts.

    Attributes:
        expensive: categories that go to `strong`.
        open: the router without the defence, `guarded` with it.
        search: prompts that the attacker searches on, `held_out` those that he is measured on.
    """

    name: str
    expensive: frozenset[str]
    open: TwoStepRouter
    guarded: TwoStepRouter
    search: Sequence[str]
    held_out: Sequence[str]


VIEW = pool_view(Card(name="cheap"), Card(name="strong"))


def chosen(router: TwoStepRouter, texts: Sequence[str]) -> NDArray[np.bool_]:
    """bool[n]: which prompts go to `strong`."""
    decisions = router.route_batch([Features(text=text) for text in texts], VIEW)
    return np.array([decision.expert == "strong" for decision in decisions], np.bool_)


def going(router: TwoStepRouter, texts: Sequence[str], *, strong: bool) -> list[str]:
    """The prompts that go to `strong`, or those that do not."""
    return [text for text, yes in zip(texts, chosen(router, texts).tolist(), strict=True) if yes is strong]


def near(router: TwoStepRouter, expensive: frozenset[str], texts: Sequence[str]) -> NDArray[np.float32]:
    """float32[n]: how near the prompts are to `strong`."""
    found = router.classifier.classify([Features(text=text) for text in texts])
    columns = [name in expensive for name in router.classifier.categories]
    return found.probabilities[:, columns].sum(axis=1) - found.uncertainty


def vocabulary(target: Target) -> list[str]:
    """The words of the prompts that pull most when they stand alone, best first."""
    counts = Counter(word for prompt in target.search for word in prompt.split() if len(word) < 24)
    words = [word for word, _ in counts.most_common(VOCABULARY)]
    order = (-near(target.open, target.expensive, words)).argsort()[:SHORT_LIST]
    return [words[index] for index in order.tolist()]


def climb(
    target: Target,
    router: TwoStepRouter,
    prompts: Sequence[str],
    words: Sequence[str],
    place: str,
    length: int,
    seed: int,
) -> str:
    """The best gadget of `length` words that two rounds over its places find against `router`."""
    chance = random.Random(seed)
    put = PLACES[place]
    gadget = [chance.choice(words) for _ in range(length)]

    def worth(candidate: Sequence[str]) -> float:
        texts = [put(" ".join(candidate), prompt) for prompt in prompts]
        # How many prompts are moved, and, so that there is a slope, how near the others are.
        return float(chosen(router, texts).mean() + 0.3 * near(router, target.expensive, texts).mean())

    best = worth(gadget)
    for _ in range(2):
        for at in chance.sample(range(length), length):
            for word in chance.sample(list(words), TRIES):
                candidate = [*gadget[:at], word, *gadget[at + 1 :]]
                if (found := worth(candidate)) > best:
                    best, gadget = found, candidate
    return " ".join(gadget)


def wilson(hits: int, of: int) -> tuple[float, float, float]:
    """Share and its 95% interval."""
    if of == 0:
        return 0.0, 0.0, 1.0
    share, z = hits / of, 1.96
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return share, max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass
class Result:
    """One row: success without the defence, with it, and with it against an attacker who knows it."""

    target: str
    place: str
    words: int
    prompts: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    adaptive: tuple[float, float, float]
    gadget: str


def attack(target: Target, place: str, length: int, seed: int) -> Result:
    """Search on both routers, measure on held-out prompts."""
    put = PLACES[place]

    def success(router: TwoStepRouter, gadget: str) -> tuple[float, float, float]:
        cheap = going(router, target.held_out, strong=False)
        moved = chosen(router, [put(gadget, text) for text in cheap])
        return wilson(int(moved.sum()), len(cheap))

    search = going(target.open, target.search, strong=False)
    words = vocabulary(target)
    sample = random.Random(seed).sample(search, min(SEARCHED_ON, len(search)))
    gadget = climb(target, target.open, sample, words, place, length, seed)
    knowing = climb(target, target.guarded, sample, words, place, length, seed)
    return Result(
        target=target.name,
        place=place,
        words=length,
        prompts=int((~chosen(target.open, target.held_out)).sum()),
        before=success(target.open, gadget),
        after=success(target.guarded, gadget),
        adaptive=max(success(target.guarded, knowing), success(target.guarded, gadget)),
        gadget=gadget,
    )


def price(target: Target) -> dict[str, object]:
    """What the defence costs without an attack: prompts that lose the expensive expert, and time."""
    strong = going(target.open, target.held_out, strong=True)
    kept = chosen(target.guarded, strong)
    spent: dict[str, float] = {}
    for name, router in (("open", target.open), ("guarded", target.guarded)):
        began = time.process_time()
        for text in target.held_out:
            router.route(Features(text=text), VIEW)
        spent[name] = (time.process_time() - began) / len(target.held_out) * 1e6
    return {
        "target": target.name,
        "strong": len(strong),
        "kept": wilson(int(kept.sum()), len(strong)),
        **spent,
    }


def builtin() -> Target:
    """The classifier that ships, four categories of which go to an expensive expert; our own prompts."""
    texts: dict[str, list[str]] = {}
    for example in read_own():
        texts.setdefault(example.group, []).append(example.text)
    groups = sorted(texts)
    random.Random(0).shuffle(groups)
    half = len(groups) // 2
    settings = {"map": {**dict.fromkeys(EXPENSIVE, "strong"), GENERAL: "cheap"}}
    first = [texts[group][0] for group in groups]
    return Target("built-in", frozenset(EXPENSIVE), *routers(settings), first[:half], first[half:])


def trained(folder: Path) -> Target:
    """A router trained on recorded outcomes; the categories in which size pays most are expensive."""
    outcomes, cards = load("llmrouter")
    fit_rows, held_rows = split(outcomes, seed=0)
    fit, held = outcomes.rows(fit_rows), outcomes.rows(held_rows)
    made = train(fit, cards, folder / "router", TrainOptions(), embedder=StaticEmbedder.load())
    names = list(fit.categories)
    labels = np.array([names[index] for index in fit.category])
    spread = np.nanmax(fit.scores, axis=1) - np.nanmin(fit.scores, axis=1)
    gain = {name: float(np.nanmean(spread[labels == name])) for name in made.categories}
    half = sorted(gain, key=lambda name: -gain[name])[: len(gain) // 2]
    settings = {
        "artifact": str(folder / "router"),
        "map": {**dict.fromkeys(gain, "cheap"), **dict.fromkeys(half, "strong"), GENERAL: "cheap"},
    }
    unique = list(dict.fromkeys(held.prompts))
    searched = list(dict.fromkeys(fit.prompts))[:600]
    return Target("llmrouter", frozenset(half), *routers(settings), searched, unique[:600])


def routers(settings: dict[str, object]) -> tuple[TwoStepRouter, TwoStepRouter]:
    """The router without the defence and with it."""
    plugin: Plugin[Any] = load_plugin("coe.routers", "two-step")
    answered = build(
        experts={name: create(load_plugin("coe.experts", "echo")) for name in ("cheap", "strong")}
    )
    return (
        create(plugin, settings=settings, build=answered),
        create(plugin, settings={**settings, "guarded": ["strong"]}, build=answered),
    )


def percent(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.0%} ({found[1]:.0%}–{found[2]:.0%})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="built-in, llmrouter")
    parser.add_argument("--words", type=int, nargs="*", default=[8, 24], help="lengths of gadgets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    console = Console(width=160)
    table = Table("router", "gadget", "words", "cheap prompts", "success", "defended", "adaptive", box=None)
    results: list[Result] = []
    prices: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        makers = {"built-in": builtin, "llmrouter": lambda: trained(Path(folder))}
        for name, make in makers.items():
            if arguments.only and name not in arguments.only:
                continue
            target = make()
            prices.append(price(target))
            console.print(prices[-1])
            for length in arguments.words:
                for place in PLACES:
                    found = attack(target, place, length, arguments.seed)
                    results.append(found)
                    console.print(found, highlight=False)
                    shares = map(percent, (found.before, found.after, found.adaptive))
                    table.add_row(name, place, str(length), str(found.prompts), *shares)
    console.print(table)
    if arguments.json:
        report = {"attacks": [asdict(each) for each in results], "prices": prices}
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
