"""`coe serve`: the gateway."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.console import Console

from coe.cli._options import ConfigOption, checked, load_config, registry_for
from coe.config import Config, PluginSettings, ServerConfig, find
from coe.engine import Engine
from coe.experts import fetch_models
from coe.gateway import serve

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; overrides the configuration.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            metavar="URL", envvar="COE_REDIS_URL", help="Share decisions through this Redis; redis:// URL."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve every configured expert behind one OpenAI-compatible endpoint.

    Stop it with Ctrl-C or SIGTERM: requests that are running are finished first.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    settings = _overridden(load_config(config), host, port, redis)
    registry = registry_for(settings)
    embedded = find(config) is None
    checked(settings, registry)
    with Console(stderr=True).status("Looking for the model …") as status:
        fetch_models(settings, status.update)
    serve(settings, registry, lambda url, engine: _greet(url, engine, settings, embedded))


def _overridden(config: Config, host: str | None, port: int | None, redis: str | None) -> Config:
    """The configuration with what the command line says instead."""
    update: dict[str, object] = {}
    address = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    if address:
        update["server"] = ServerConfig.model_validate({**config.server.model_dump(), **address})
    if redis is not None:
        shared = PluginSettings.model_validate({"kind": "redis", "url": redis})
        update["cache"] = config.cache.model_copy(update={"shared": shared})
    if not update:
        return config
    changed = config.model_copy(update=update)
    changed.attach(config.origin)
    return changed


def _greet(url: str, engine: Engine, config: Config, embedded: bool) -> None:
    """Say where it listens and what to do next."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    model = next(iter(engine.routers), next(iter(engine.pool.members)))
    console.print(f"[bold]coe[/bold] serves [bold]{url}/v1[/bold] — configuration: {config.source}")
    for name in engine.routers:
        routable = ", ".join(engine.pool.view(engine.routers[name].experts).experts)
        console.print(f"  model [bold]{name}[/bold] chooses among: {routable}")
    if embedded:
        console.print(
            "  These experts are prompts on SmolLM2-135M, a [bold]very small[/bold] model on this CPU: good "
            "for seeing routing work, not for answers to rely on.\n"
            "  Add a real model: `coe init`, put its URL under `experts:`, `coe serve`."
        )
    console.print(f"  Try: coe chat --url {url}, or", style="dim")
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"What is 6 times 7?"}}]}}'
    console.print(
        f"       curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'",
        style="dim",
        markup=False,
    )
