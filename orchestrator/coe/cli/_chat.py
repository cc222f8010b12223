"""`coe chat`: ask, once or in a conversation."""

from __future__ import annotations

import readline
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from coe.cli._connect import KeyOption, ModelOption, UrlOption, client_for, read_prompt, waiting
from coe.cli._errors import report
from coe.cli._options import ConfigOption
from coe.cli._printing import console, routing_line
from coe.client import Answer, Client, Prompt
from coe.errors import CoeError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_NEW = "/new"


@app.command()
def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROMPT]", help="Ask this and leave; - reads it from stdin.", show_default=False
        ),
    ] = None,
    model: ModelOption = "auto",
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Ask, and see which expert answers and why. Without PROMPT, a conversation.

    Without --url it asks the server that runs at the configured address; when there is none, the experts
    run in this process. The answer goes to stdout, everything else to stderr.
    """
    notes = console(stderr=True)
    with client_for(url, config, key, notes) as client:
        if prompt is not None:
            _ask(client, read_prompt(prompt), model, notes)
        else:
            _converse(client, model, notes)


def _ask(client: Client, messages: Prompt, model: str, notes: Console) -> Answer:
    """Have it answered, printing the text as it comes."""
    with waiting(notes, "Waiting for an answer"):
        stream = client.chat(messages, model=model, stream=True)
    with stream:
        try:
            for text in stream:
                print(text, end="", flush=True)
        finally:
            print()
    notes.print(routing_line(stream.routing), style="dim", markup=False)
    return stream.answer


def _converse(client: Client, model: str, notes: Console) -> None:
    interactive = sys.stdin.isatty()
    readline.set_auto_history(interactive)  # importing it is what gives `input` its editing
    if interactive:
        notes.print(f"{_NEW} forgets the conversation, Ctrl-C stops an answer, Ctrl-D leaves.", style="dim")
    messages: list[dict[str, Any]] = []
    while True:
        try:
            text = input("> " if interactive else "").strip()
        except EOFError:
            print(file=sys.stderr)
            return
        if text == _NEW:
            messages = []
        elif text:
            messages += _turn(client, [*messages, {"role": "user", "content": text}], model, notes)


def _turn(client: Client, messages: list[dict[str, Any]], model: str, notes: Console) -> list[dict[str, Any]]:
    """What a turn adds to the conversation: the question and its answer; nothing when there is no answer."""
    try:
        answer = _ask(client, messages, model, notes)
    except KeyboardInterrupt:
        notes.print("Stopped.", style="dim")
        return []
    except CoeError as error:
        report(error)
        return []
    return [messages[-1], answer.message]
