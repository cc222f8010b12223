"""`coe serve`: the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from coe.cli._options import ConfigOption, checked, registry_for
from coe.config import Config, ConfigSource, Overrides
from coe.experts import fetch_models
from coe.gateway import log_to_stderr, refuse_open, serve, starting

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
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that answer requests; overrides the configuration.")
    ] = None,
    allow_open: Annotated[
        bool, typer.Option("--allow-open", help="Listen beyond this machine without asking for API keys.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve every configured expert behind one OpenAI-compatible endpoint.

    Stop it with Ctrl-C or SIGTERM: requests that are running are finished first.
    """
    log_to_stderr(verbose=verbose)
    overrides = Overrides(host=host, port=port, workers=workers, allow_open=allow_open or None, redis=redis)
    with starting():
        source = ConfigSource.found(config, overrides)
        text = source.read()
        settings = source.parse(text)
        registry = registry_for(settings)
        checked(settings, registry)
    refuse_open(settings)
    if any(expert.kind == "local" for expert in settings.experts.values()):
        _fetch(settings)
    serve(source, text, settings, registry, lambda url: _greet(url, settings, source.path is None))


def _fetch(settings: Config) -> None:
    from rich.console import Console  # Late: a server without a model of its own starts sooner without it.

    with Console(stderr=True).status("Looking for the model …") as status:
        fetch_models(settings, status.update)


def _greet(url: str, config: Config, embedded: bool) -> None:
    """Say where it listens and what to do next."""
    model = next(iter(config.routers))
    routable = [name for name, expert in config.experts.items() if expert.routable]
    _say(f"{_bold('coe')} serves {_bold(f'{url}/v1')} — configuration: {config.source}")
    for name, router in config.routers.items():
        experts = ", ".join(routable if router.experts is None else router.experts)
        _say(f"  model {_bold(name)} chooses among: {experts}")
    if embedded:
        _say(
            f"  These experts are prompts on SmolLM2-135M, a {_bold('very small')} model on this CPU: good "
            "for seeing routing work, not for answers to rely on.\n"
            "  Add a real model: `coe init`, put its URL under `experts:`, `coe serve`."
        )
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"What is 6 times 7?"}}]}}'
    _say(typer.style(f"  Try: coe chat --url {url}, or", dim=True))
    curl = f"curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"
    _say(typer.style(f"       {curl}", dim=True))


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _bold(text: str) -> str:
    return typer.style(text, bold=True)
