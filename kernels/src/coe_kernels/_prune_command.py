"""`coe kernels prune`: fewer experts per layer, for one task."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import tempfile
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from coe.errors import ConfigError, DataError, PluginError
from coe_kernels.checkpoint import read_model
from coe_kernels.pruning import METHODS, RouterUse, kept_share


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was kept, and what it did to texts that were not looked at.

    Attributes:
        experts, kept: per layer, before and after.
        share: of the router's weights that the kept experts had, the smallest of all layers.
        perplexity, pruned_perplexity, random_perplexity: of the held-out texts, by the model, by the smaller
            one, and by one of the same size whose experts were drawn by chance.
        layers: the numbers that were kept, by layer.
    """

    method: str
    experts: int
    kept: int
    share: float
    perplexity: float
    pruned_perplexity: float
    random_perplexity: float
    texts: int
    held_out: int
    layers: dict[str, list[int]]


def prune_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a sparse model.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the smaller one.")],
    keep: Annotated[int, typer.Option("--keep", min=1, help="Experts per layer that stay.")],
    texts: Annotated[
        Path,
        typer.Option(
            "--texts",
            metavar="FILE",
            help="The task: JSON lines with `prompt`, as outcomes are, or lines of text.",
        ),
    ],
    method: Annotated[str, typer.Option("--method", help=f"One of {', '.join(METHODS)}.")] = "uncurl",
    held_out: Annotated[
        float, typer.Option("--held-out", min=0.05, max=0.9, help="Share of texts to judge by.")
    ] = 0.3,
    seed: Annotated[int, typer.Option("--seed", help="For the order of texts, and the draw by chance.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write a model with fewer experts for one task, and say what that cost."""
    facts = read_model(model)
    if method not in METHODS:
        raise ConfigError(f"--method is {method!r}, expected one of {', '.join(METHODS)}")
    if not facts.top_k <= keep < facts.experts:
        raise ConfigError(
            f"--keep is {keep}, expected {facts.top_k} (experts per token) to {facts.experts - 1}"
        )
    if out.exists():
        raise ConfigError(f"--out {out} exists already")
    try:
        engine: Any = importlib.import_module("coe_kernels.engine.prune")
    except ImportError as error:
        raise PluginError(
            f"this needs torch and transformers: {error}", hint="run it where vLLM is installed"
        ) from error
    rng = np.random.default_rng(seed)
    rows = engine.tokens(model, read_texts(texts))
    order = rng.permutation(len(rows))
    judged = math.ceil(held_out * len(rows))
    if not 0 < judged < len(rows):
        raise DataError(f"{texts} has {len(rows)} texts of two tokens and more: too few to hold any out")
    test, train = ([rows[at] for at in part] for part in (order[:judged], order[judged:]))
    uses: dict[str, RouterUse] = engine.watch(model, train, facts.top_k)[0]
    kept = {name: METHODS[method](use, keep) for name, use in uses.items()}
    chance = {name: sorted(rng.permutation(facts.experts)[:keep].tolist()) for name in uses}
    engine.write_smaller(model, out, kept)
    # Beside the other one: what is for temporary files may be small, or memory.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as spare:
        by_chance = Path(spare) / "random"
        engine.write_smaller(model, by_chance, chance)
        scores = [engine.score(folder, test) for folder in (model, out, by_chance)]
    report = Report(
        method=method,
        experts=facts.experts,
        kept=keep,
        share=min(kept_share(use, kept[name]) for name, use in uses.items()),
        perplexity=math.exp(-scores[0]),
        pruned_perplexity=math.exp(-scores[1]),
        random_perplexity=math.exp(-scores[2]),
        texts=len(train),
        held_out=len(test),
        layers=kept,
    )
    said = json.dumps(dataclasses.asdict(report))
    (out / "pruning.json").write_text(said + "\n")
    print(said if as_json else describe(report))


def describe(report: Report) -> str:
    """The report in words."""
    return (
        f"{report.kept} of {report.experts} experts per layer stay (by {report.method}, from {report.texts} "
        f"texts); they had {report.share:.1%} of the router's weights in the layer that loses most\n"
        f"perplexity of {report.held_out} other texts: {report.perplexity:.3f} before, "
        f"{report.pruned_perplexity:.3f} after, {report.random_perplexity:.3f} with as many drawn by chance"
    )


def read_texts(path: Path) -> list[str]:
    """Lines of text, or the `prompt` of JSON lines.

    Raises:
        DataError: the file cannot be read, or a JSON line has no prompt.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not lines or not lines[0].lstrip().startswith("{"):
        return lines
    texts: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            row: Any = json.loads(line)
            texts.append(str(cast("dict[str, object]", row)["prompt"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: a JSON object with `prompt` was expected: {error!r}"
            ) from error
    return texts
