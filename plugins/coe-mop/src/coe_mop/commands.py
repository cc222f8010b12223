"""`coe mop`: build, route, evaluate, config."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from coe.contracts import Expert, Host
from coe.errors import ConfigError, DataError
from coe_mop._build import BuildSettings, Made, build, scorer
from coe_mop._bundle import Bundle, read_bundle
from coe_mop._caller import Caller
from coe_mop._examples import Example, read_examples, read_queries
from coe_mop._ledger import Ledger
from coe_mop._plan import POLICIES
from coe_mop._policies import Policies, compare
from coe_mop._regions import PENALTY_EXAMPLES
from coe_mop._report import markdown, page

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Prompt experts from your own examples (Mixture-of-Prompts).",
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration with the base.", show_default=False),
]
BundleArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `coe mop build` wrote.")]
ExamplesArgument = Annotated[
    Path, typer.Argument(metavar="EXAMPLES", help="JSON Lines of {input, output, task?}; .gz too.")
]
CallsOption = Annotated[
    Path | None,
    typer.Option(
        "--calls", metavar="FILE", help="Where calls are kept; beside DIR by default.", show_default=False
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="[TASK=]NAME",
        help="exact, normalised, contains, f1, set, rouge-l or module:function. Repeat for tasks.",
        show_default="normalised, or the bundle's",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("build")
def build_command(
    context: typer.Context,
    examples: ExamplesArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the bundle to.")],
    base: Annotated[
        str | None, typer.Option("--base", metavar="EXPERT", help="Who shall answer.", show_default=False)
    ] = None,
    budget: Annotated[int, typer.Option("--budget", metavar="CALLS", min=1, help="Calls at most.")] = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything drawn.")] = 0,
    no_instructions: Annotated[
        bool, typer.Option("--no-instructions", help="Regions and demonstrations only: no call is made.")
    ] = False,
    identities: Annotated[bool, typer.Option("--identities", help="Propose expert identities, too.")] = False,
    regions: Annotated[
        int | None, typer.Option("--regions", min=1, help="How many; chosen by default.", show_default=False)
    ] = None,
    penalty: Annotated[
        float, typer.Option("--penalty", min=0, help="Price of a region, in average examples' scatter.")
    ] = PENALTY_EXAMPLES,
    demos: Annotated[int, typer.Option("--demos", min=0, help="Demonstrations in every prompt.")] = 6,
    metric: MetricOption = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer in scoring.")] = 64,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Calls at once.")] = 4,
    ood: Annotated[
        bool, typer.Option("--ood", help="Hold back one half of the input space, not a random part.")
    ] = False,
    embedder: Annotated[str, typer.Option("--embedder", help="Entry-point name of an embedder.")] = "static",
    calls: CallsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make prompt experts from examples, one for each region of the input space.

    Interrupted, the same command goes on where it was: calls are kept beside DIR.
    """
    if base is None and not no_instructions:
        raise typer.BadParameter("Name the base, or --no-instructions.", param_hint="--base")
    default, by_task = _metrics(metric or [])
    settings = BuildSettings(
        budget=budget,
        seed=seed,
        regions=regions,
        penalty_examples=penalty,
        demos=demos,
        identities=identities,
        ood=ood,
        metric=default,
        metrics=by_task,
        max_tokens=max_tokens,
        concurrency=concurrency,
    )
    scorer(default, by_task)  # an unknown metric is said before anything is asked
    read = read_examples(examples)

    async def run() -> Made:
        async with _host(context).open(config) as built:
            vectors = built.embedder(embedder, {})
            with _progress("reading") as shown:
                if no_instructions or base is None:
                    return await build(
                        read, vectors, settings, embedder_ref=(embedder, {}), base=base, say=shown.say
                    )
                with Ledger(calls or _beside(out, "calls"), _identity(built.expert(base)), budget) as ledger:
                    caller = Caller(built.expert(base), ledger, concurrency=concurrency, progress=shown.calls)
                    return await build(
                        read,
                        vectors,
                        settings,
                        caller=caller,
                        embedder_ref=(embedder, {}),
                        base=base,
                        say=shown.say,
                    )

    made = asyncio.run(run())
    report = markdown(made)
    revision = made.bundle.write(out, {"report.md": report, "report.html": page(made)})
    if as_json:
        _print_json(_summary(made, out, revision))
    else:
        print(report)
        print(f"Bundle written to {out}. Next: `coe mop config {out} --base {base or 'EXPERT'}`.")


@app.command("route")
def route_command(
    context: typer.Context,
    bundle: BundleArgument,
    source: Annotated[Path, typer.Option("--input", metavar="FILE", help="JSON Lines of {input, id?}.")],
    target: Annotated[Path, typer.Option("--output", metavar="FILE", help="JSON Lines to write.")],
    config: ConfigOption = None,
) -> None:
    """Write the region of each input: {id, region, distance, margin} per line."""
    queries = read_queries(source)

    async def run() -> list[dict[str, Any]]:
        async with _host(context).open(config) as built:
            read, vectors = read_bundle(bundle, built.embedder)
            routed = read.route([query.input for query in queries], vectors)
        return [
            {"id": query.id, "region": region, "distance": round(distance, 6), "margin": round(margin, 6)}
            for query, region, distance, margin in zip(
                queries, routed.region.tolist(), routed.distance.tolist(), routed.margin.tolist(), strict=True
            )
        ]

    rows = asyncio.run(run())
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    staged = target.with_name(f".{target.name}.part")
    try:
        staged.write_text(text, encoding="utf-8")
        staged.replace(target)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}.") from error


@app.command("evaluate")
def evaluate_command(
    context: typer.Context,
    bundle: BundleArgument,
    examples: ExamplesArgument,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="EXPERT",
            help="Who answers; the one it was built with by default.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            metavar="CALLS",
            min=1,
            help="Calls at most; all that it takes by default.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Calls at once.")] = 4,
    metric: MetricOption = None,
    calls: CallsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the mixture with every baseline on examples that it has not seen.

    Of a bundle without a base only the regions are judged, and no call is made.
    """
    read = read_examples(examples)

    async def run() -> dict[str, Any]:
        async with _host(context).open(config) as built:
            opened, vectors = read_bundle(bundle, built.embedder)
            routed = opened.route([each.input for each in read], vectors)
            found: dict[str, Any] = {
                "bundle": str(bundle),
                "revision": opened.revision,
                "examples": len(read),
                "regions": len(opened.prompts),
                "abstained": float((routed.margin < opened.min_margin).mean()),
                **_region_facts(routed.region.tolist(), read),
            }
            name = base or opened.about["base"]
            if name is None:
                return {**found, "calls": 0, "policies": []}
            scored = scorer(*_metrics_of(opened, metric or []))
            limit = budget or (POLICIES + 1) * len(read)
            with (
                _progress("asking") as shown,
                Ledger(calls or _beside(bundle, "evaluate"), _identity(built.expert(name)), limit) as ledger,
            ):
                caller = Caller(built.expert(name), ledger, concurrency=concurrency, progress=shown.calls)
                policies = await compare(
                    opened, vectors, read, caller, scored, opened.about["max_tokens"], opened.about["seed"]
                )
                return {**found, "calls": ledger.spent, **_policy_facts(policies)}

    found = asyncio.run(run())
    if as_json:
        _print_json(found)
        return
    shown = Console(highlight=False, soft_wrap=True)
    shown.print(f"{found['examples']} examples, {found['regions']} regions, {found['calls']} calls.")
    if found["purity"] is not None:
        shown.print(f"Region purity against tasks {found['purity']:.3f}.")
    for row in found["policies"]:
        low, high = row["ci95"]
        shown.print(
            f"{row['policy']:24} {row['score']:.3f} ({low:.2f} to {high:.2f}), mop {row['mop_lead']:+.3f}"
        )


@app.command("config")
def config_command(
    context: typer.Context,
    bundle: BundleArgument,
    base: Annotated[str, typer.Option("--base", metavar="EXPERT", help="Who answers.")],
    name: Annotated[str, typer.Option("--name", help="Beginning of the experts' names.")] = "mop",
    config: ConfigOption = None,
) -> None:
    """Print the lines of coe.yaml that serve a bundle: an expert per region, and the router."""

    async def run() -> Bundle:
        async with _host(context).open(config) as built:
            return read_bundle(bundle, built.embedder)[0]

    regions = len(asyncio.run(run()).prompts)
    names = [f"{name}-{region}" for region in range(regions)]
    lines = ["experts:"]
    for each, region in [*zip(names, map(str, range(regions)), strict=True), (f"{name}-single", "single")]:
        lines += [f"  {each}:", "    kind: mop", f"    bundle: {json.dumps(str(bundle))}"]
        lines += [f"    base: {base}", f"    region: {region}"]
    lines += ["routers:", f"  {name}:", "    kind: mop", f"    bundle: {json.dumps(str(bundle))}"]
    lines += [f"    regions: [{', '.join(names)}]", f"    single: {name}-single"]
    lines += [f"    experts: [{', '.join([*names, f'{name}-single'])}]"]
    print("\n".join(lines))


def _host(context: typer.Context) -> Host:
    host: Host | None = context.find_root().obj
    if host is None:
        raise ConfigError("This command runs as `coe mop`.")
    return host


def _metrics(given: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The default metric, and those of tasks."""
    default, by_task = "normalised", dict[str, str]()
    for each in given:
        task, sign, name = each.rpartition("=")
        if sign:
            by_task[task] = name
        else:
            default = name
    if any(":" in name for name in (default, *by_task.values())):
        sys.path.insert(
            0, str(Path.cwd())
        )  # where the user's own function is; an installed command begins elsewhere
    return default, by_task


def _metrics_of(bundle: Bundle, given: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The metrics given now, else those that the bundle was made with.

    Raises:
        ConfigError: the bundle names a function; nobody's function runs because a file says so.
    """
    if given:
        return _metrics(given)
    default, by_task = str(bundle.about["metric"]), dict[str, str](bundle.about["metrics"])
    for task, name in {"": default, **by_task}.items():
        if ":" in name:
            said = f"{task}={name}" if task else name
            raise ConfigError(
                f"The bundle was scored by the function {name}.", hint=f"Say --metric {said} to use it again."
            )
    return default, by_task


def _identity(expert: Expert) -> str:
    card = expert.card
    return f"{card.name} ({card.description})" if card.description else card.name


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f"{folder.name}.{what}.jsonl")


def _region_facts(regions: Sequence[int], examples: Sequence[Example]) -> dict[str, Any]:
    sizes = Counter(regions)
    facts: dict[str, Any] = {
        "sizes": {str(region): sizes[region] for region in sorted(sizes)},
        "purity": None,
    }
    if all(example.task is not None for example in examples):
        pairs = Counter(zip(regions, (example.task for example in examples), strict=True))
        most = {region: max(n for (own, _), n in pairs.items() if own == region) for region in sizes}
        facts["purity"] = sum(most.values()) / len(examples)
    return facts


def _policy_facts(policies: Policies) -> dict[str, Any]:
    return {"policies": policies.rows(), "tasks": policies.by_task(), "win_rates": policies.win_rates()}


def _summary(made: Made, out: Path, revision: str) -> dict[str, Any]:
    return {
        "bundle": str(out),
        "revision": revision,
        "regions": len(made.bundle.prompts),
        "calls": made.bundle.about["calls"],
        "budget": made.bundle.about["budget"],
        "penalty": made.choice.penalty,
        **({} if made.policies is None else _policy_facts(made.policies)),
    }


def _print_json(value: Mapping[str, Any]) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


class _Shown:
    """What is going on, on stderr. Never what was asked or answered."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._step = ""

    def say(self, step: str) -> None:
        self._step = step
        self._progress.update(self._task, description=step)

    def calls(self, spent: int, budget: int) -> None:
        self._progress.update(self._task, description=f"{self._step} ({spent} of {budget} calls)")


@contextmanager
def _progress(first: str) -> Generator[_Shown, None, None]:
    console = Console(stderr=True, highlight=False)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
    ) as progress:
        shown = _Shown(progress)
        shown.say(first)
        yield shown
