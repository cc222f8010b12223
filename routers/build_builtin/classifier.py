"""Train the built-in category classifier, report how good it is, and write it into the package.

    COE_DATA=../shared/data python routers/build_builtin/classifier.py [--report report.json]

The same data, seed and library versions give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from own_prompts import OWN, read_own
from report import chat_report, clinc_report, held_out_report
from sources import GENERAL, Example, read_chat, read_clinc, read_examples

from coe.contracts import Features
from coe_routers.artifact import EmbedderRef, RouterArtifact, save_router
from coe_routers.features import StaticEmbedder
from coe_routers.training import FitOptions, Fitted, fit_classifier

REPOSITORY = Path(__file__).parents[2]
OUT = REPOSITORY / "routers/coe_routers/builtin/router"
TEST_SHARE = 0.2
CAP, CAP_GENERAL = 450, 200
"""Rows of one category from one source: no source may speak for its category alone."""


def main() -> None:
    """Fit on the training part and report on the test part; then fit on both, which is what ships."""
    parser = argparse.ArgumentParser(description="Train the built-in category classifier.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--report", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    data = Path(os.environ.get("COE_DATA", REPOSITORY.parent / "shared/data"))
    examples = capped(distinct([*read_own(), *read_examples(data)]), options.seed)
    train = [each for each in examples if not held_out(each)]
    test = [each for each in examples if held_out(each)]
    shipped = fit(examples, options.seed)
    report = {
        "rows_by_category": dict(sorted(Counter(each.category for each in examples).items())),
        "held_out": held_out_report(fit(train, options.seed), test, options.seed),
        "clinc150": clinc_report(shipped, read_clinc(data), options.seed),
        "chat": chat_report(shipped, read_chat(data)),
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.report:
        options.report.write_text(text + "\n", encoding="utf-8")
    save(shipped, examples, options.out, options.seed)


def distinct(examples: Iterable[Example]) -> list[Example]:
    """The first example of every text, texts compared without case, space and punctuation."""
    seen: dict[str, Example] = {}
    for each in examples:
        if key := _plain(each.text):
            seen.setdefault(key, each)
    return list(seen.values())


def capped(examples: Sequence[Example], seed: int) -> list[Example]:
    """At most `CAP` examples of each category and public source, picked by the seed."""
    order = np.random.default_rng(seed).permutation(len(examples))
    counts: Counter[tuple[str, str]] = Counter()
    kept: list[int] = []
    for index in order.tolist():
        key = (examples[index].category, examples[index].source)
        counts[key] += 1
        cap = CAP_GENERAL if key[0] == GENERAL else CAP
        if counts[key] <= cap or key[1] == OWN:
            kept.append(index)
    return [examples[index] for index in sorted(kept)]


def held_out(example: Example) -> bool:
    """Whether it belongs to the test part: decided by a hash, so that it never changes sides."""
    key = example.group or _plain(example.text)
    digest = hashlib.sha256(b"coe builtin\0" + key.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < TEST_SHARE


def fit(examples: Sequence[Example], seed: int) -> Fitted:
    """The recipe of what ships."""
    return fit_classifier(
        [Features(text=each.text) for each in examples],
        [each.category for each in examples],
        embedder=StaticEmbedder.load(),
        groups=[each.group or each.text for each in examples],
        options=FitOptions(limits="uncertainty", seed=seed),
    )


def save(fitted: Fitted, examples: Sequence[Example], out: Path, seed: int) -> None:
    """Write the artifact with the facts of how it was made."""
    sources = Counter((each.source, each.licence) for each in examples)
    facts = {
        "seed": seed,
        "rows": len(examples),
        "rows_general": sum(each.category == GENERAL for each in examples),
        "sources": [[source, licence, rows] for (source, licence), rows in sorted(sources.items())],
    }
    router = RouterArtifact(
        classifier=fitted.classifier,
        abstention=fitted.abstention,
        embedder=EmbedderRef(kind="static"),
        facts=facts,
    )
    revision = save_router(out, router)
    size_mb = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print(f"{out}: {size_mb:.1f} MB, revision {revision[:12]}")


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


if __name__ == "__main__":
    main()
