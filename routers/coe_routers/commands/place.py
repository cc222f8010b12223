"""`coe place`: an expert without scores into a trained router's map, behind the measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from coe_routers.commands._shared import JsonOption, RouterArgument, console, print_json, table
from coe_routers.offline import find_embedder, require_map
from coe_routers.outcomes import read_prompts
from coe_routers.placement import add_unmeasured, place, remove_unmeasured

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    router: RouterArgument,
    expert: Annotated[str, typer.Argument(metavar="EXPERT", help="Name of the expert.")],
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Prompts that it is good at: .jsonl, .jsonl.gz or .parquet.",
            show_default=False,
        ),
    ] = None,
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="What it is for; says far less than examples.")
    ] = "",
    first_in: Annotated[
        list[str] | None,
        typer.Option(metavar="CATEGORY", help="Put it before the measured experts here; may be repeated."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out of the map again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Place an expert that nobody has measured: marked, without a score, behind the measured ones."""
    require_map(router)
    if remove:
        revision = remove_unmeasured(router, expert)
        if as_json:
            print_json({"removed": expert, "revision": revision})
        else:
            console().print(f"{expert} is out of the map.")
        return
    place_unmeasured(router, expert, examples, description, first_in or [], as_json=as_json)


def place_unmeasured(
    router: Path,
    expert: str,
    examples: Path | None,
    description: str,
    first_in: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Place an expert by its texts and say where it stands, and that it is unmeasured."""
    texts = [] if examples is None else [row.prompt for row in read_prompts(examples)]
    found = place(router, find_embedder, expert=expert, examples=texts, description=description)
    revision = add_unmeasured(router, found, first_in=first_in)
    if as_json:
        print_json(
            {
                "expert": expert,
                "source": found.source,
                "unmeasured": True,
                "first_in": sorted(first_in),
                "affinity": {name: found.affinity[name] for name in found.categories},
                "revision": revision,
            }
        )
        return
    out = console()
    rows = [[name, f"{found.affinity[name]:+.2f}"] for name in found.categories]
    out.print(table(f"What {expert} resembles, by its {found.source}", ("category", "affinity"), rows))
    where = f"before them in {', '.join(sorted(first_in))}" if first_in else "in every category"
    out.print(
        f"{expert} is unmeasured: it has no score and stands behind the measured experts"
        f"{', but ' if first_in else ' '}{where}. Evaluate it (`coe rank` says where), then add its scores."
    )
