"""What a vLLM server's log says: how far its start is, and why it failed. Pure functions of lines.

The phrases are those of vLLM 0.32.0 and its neighbours. A line that is not known changes nothing, so another
version costs detail and never correctness: readiness is /health's business.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_PHASES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("reading the configuration", re.compile(r"non-default args|Resolved architecture|Using max model len")),
    ("starting the engine", re.compile(r"Initializing a V1 LLM engine|EngineCore.*(?:started|waiting)")),
    ("loading weights", re.compile(r"Starting to load model|Loading safetensors|Loading weights")),
    (
        "sizing the cache",
        re.compile(r"Loading weights took|Model loading took|GPU KV cache size|KV cache size"),
    ),
    ("compiling", re.compile(r"Compiling a graph|Dynamo bytecode|Capturing CUDA graph")),
    (
        "opening the port",
        re.compile(r"init engine|Starting vLLM (?:API )?server|Waiting for application startup"),
    ),
    ("ready", re.compile(r"Application startup complete")),
)
_SHARDS = re.compile(r"(?:Loading safetensors checkpoint shards|Loading .*shards):\s+(\d+)% Completed")
_PREFIX = re.compile(
    r"^(?:\([^)]*pid=\d+\) ?)?(?:(?:ERROR|INFO|WARNING|CRITICAL)\s+[\d\- :.]+\[[^\]]*\]\s?)?"
)
_RAISED = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?(?P<name>[A-Z]\w*(?:Error|Exception|Interrupt|Exit|NotFound\w*)): (?P<why>.+)$"
)
_USAGE = re.compile(r"^.*?: error: (?P<why>.+)$")
_FLAG = re.compile(r"--[a-z][\w-]*")
_SECONDHAND = ("Engine core initialization failed", "EngineCore failed to start", "See root cause above")
_MARKS = ("out of memory", "No space left on device", "Address already in use", "address already in use")
_LONGEST = 400


def phase(line: str) -> str | None:
    """What the server begins with this line, in a few words; None when the line does not say."""
    if match := _SHARDS.search(line):
        return f"loading weights, {match[1]}%"
    found = None
    for name, pattern in _PHASES:
        if pattern.search(line):
            found = name
    return found


def reason(lines: Iterable[str]) -> str | None:
    """Why the server ended, from the last lines of its log; None when they do not say.

    The first exception counts that is not merely another process's: vLLM's API process reports an engine that
    failed with "see root cause above".
    """
    stripped = [_PREFIX.sub("", line.rstrip()) for line in lines]
    raised = [found for at in range(len(stripped)) if (found := _exception(stripped, at))]
    first_hand = [why for why in raised if not any(mark in why for mark in _SECONDHAND)]
    usage = [_explained(match["why"], stripped) for line in stripped if (match := _USAGE.match(line))]
    marked = [line for line in stripped if any(mark in line for mark in _MARKS)]
    for found in (usage[-1:], first_hand[:1], marked[:1], raised[:1]):
        if found:
            return found[0][:_LONGEST].strip()
    return None


def _explained(why: str, lines: Sequence[str]) -> str:
    """A complaint about arguments, with the nearest of those that the usage message before it lists."""
    if "unrecognized arguments" not in why:
        return why
    known = {flag for line in lines for flag in _FLAG.findall(line) if flag not in why.split()}
    hints = [
        f"did you mean {close[0]}?"
        for flag in _FLAG.findall(why)
        if (close := difflib.get_close_matches(flag, sorted(known), n=1, cutoff=0.8))
    ]
    return "; ".join((why, *hints))


def _exception(lines: Sequence[str], at: int) -> str | None:
    """The exception whose line this is, with the detail line of a pydantic error."""
    match = _RAISED.match(lines[at])
    if match is None:
        return None
    why = match["why"]
    if "validation error" in why:
        for line in lines[at + 1 : at + 4]:
            if line.startswith("  "):
                return line.strip().removeprefix("Value error, ").split(" [type=")[0]
    return f"{match['name']}: {why}"
