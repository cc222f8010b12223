"""Whether the installed vLLM takes the arguments of a configuration, before it is launched with them.

vLLM's own parser, asked once per installation in vLLM's own Python, says what there is; that takes as long as
importing vLLM does, so the answer is kept on disk until the installation changes. Checking is pure.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from coe_vllm._presets import Argument

LISTER = Path(__file__).with_name("_list_arguments.py")
_TIMEOUT_S = 300.0
_SIZE = re.compile(r"-1|auto|\d+(\.\d+)?[kKmMgGtT]?(?:i?[bB])?")
_CLOSE = 0.6
_SHOWN = 12


class Option(msgspec.Struct, frozen=True):
    """One option of vLLM.

    Attributes:
        takes: `flag` is true or false, `switch` true only; `size` a number such as 8k too.
        several: whether it takes several values.
        choices: the values that it takes; None for any.
        keys: those of its JSON object, where vLLM says them.
    """

    takes: Literal["switch", "flag", "text", "json", "size", "float", "int", "other"]
    several: bool = False
    choices: list[str] | None = None
    keys: list[str] | None = None


class Known(msgspec.Struct, frozen=True):
    """What one installation of vLLM takes.

    Attributes:
        origin, origin_ns: a file of the installation and its time of change, by which it is recognised.
        options: by name, with underscores.
        environment: names of the variables that it reads.
    """

    version: str
    origin: str
    origin_ns: int
    options: dict[str, Option]
    environment: list[str] = []

    @property
    def current(self) -> bool:
        """Whether the installation is still the same."""
        try:
            return Path(self.origin).stat().st_mtime_ns == self.origin_ns
        except OSError:
            return False


class Unknown(Exception):
    """vLLM could not be asked; the message says why."""


def problems(known: Known, args: Mapping[str, Argument], env: Iterable[str] = ()) -> list[str]:
    """What vLLM would refuse, one sentence each; empty when it takes all of it.

    Args:
        known: what it takes.
        args: by name, with underscores.
        env: names of environment variables that are meant for it.
    """
    found: list[str] = []
    for name, value in args.items():
        option = known.options.get(name)
        if option is None:
            found.append(f"vLLM {known.version} has no argument `{name}`{_nearest(name, known.options)}")
        elif (why := _refused(name, value, option, known)) is not None:
            found.append(why)
    variables = frozenset(known.environment)
    strange = (each for each in env if variables and each.startswith("VLLM_") and each not in variables)
    found.extend(
        f"vLLM {known.version} reads no variable `{name}`{_nearest(name, variables)}" for name in strange
    )
    return found


async def ask(python: str, env: Mapping[str, str], cache: Path) -> Known:
    """What the vLLM of a Python takes; from the cache while the installation is the same.

    Args:
        python: of the environment that holds vLLM.
        env: laid over this process's, as for the server.
        cache: folder for answers.

    Raises:
        Unknown: it could not be asked.
    """
    if (known := cached(python, env, cache)) is not None:
        return known
    try:
        process = await asyncio.create_subprocess_exec(
            python,
            str(LISTER),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **env},
        )
    except OSError as error:
        raise Unknown(f"{python}: {error.strerror}") from error
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, words = await process.communicate()
    except TimeoutError:
        raise Unknown(f"it did not answer within {_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        known = msgspec.json.decode(output, type=Known)
    except msgspec.DecodeError:
        last = words.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unknown(last[:300] or f"it ended with status {process.returncode}") from None
    _keep(_place(python, env, cache), output)
    return known


def cached(python: str, env: Mapping[str, str], cache: Path) -> Known | None:
    """The answer of before; None when there is none, or when the installation has changed since."""
    try:
        known = msgspec.json.decode(_place(python, env, cache).read_bytes(), type=Known)
    except (OSError, msgspec.DecodeError):
        return None
    return known if known.current else None


def _place(python: str, env: Mapping[str, str], cache: Path) -> Path:
    # Not resolved: the Python of a virtual environment is a link to one that has no vLLM.
    path = env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    asked = json.dumps([os.path.abspath(python), path, LISTER.stat().st_size])
    return cache / f"vllm-arguments-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"


def _keep(place: Path, output: bytes) -> None:
    """Best effort: without a cache the next launch asks again."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        rough = place.with_suffix(f".{os.getpid()}")
        rough.write_bytes(output)
        rough.replace(place)


def _refused(name: str, value: Argument, option: Option, known: Known) -> str | None:
    if option.takes in ("flag", "switch"):
        if not isinstance(value, bool):
            return f"`{name}` is true or false, not {value!r}"
        return f"`{name}` can only be true: leave it out" if option.takes == "switch" and not value else None
    if isinstance(value, bool):
        return f"`{name}` takes a value, not {str(value).lower()}"
    if isinstance(value, list) and not option.several:
        if option.takes == "json":
            return f"`{name}` takes one JSON value: write it as '{json.dumps(value)}'"
        return f"`{name}` takes one value, not a list"
    if option.takes == "json":
        return _refused_json(name, value, option, known)
    if isinstance(value, dict):
        return None if option.takes in ("text", "other") else f"`{name}` takes no object"
    for each in value if isinstance(value, list) else [value]:
        if (why := _refused_scalar(name, each, option)) is not None:
            return why
    return None


def _refused_scalar(name: str, value: float | str, option: Option) -> str | None:
    if option.choices is not None:
        given = str(value)
        if given in option.choices or given.lower().replace("-", "_") in option.choices:
            return None
        shown = ", ".join(option.choices[:_SHOWN]) + (" …" if len(option.choices) > _SHOWN else "")
        return f"`{name}` is {given!r}{_nearest(given, option.choices)}; it takes {shown}"
    try:
        if option.takes == "int":
            int(str(value))
        elif option.takes == "float":
            float(value)
    except ValueError:
        number = "a whole number" if option.takes == "int" else "a number"
        return f"`{name}` takes {number}, not {value!r}"
    if option.takes == "size" and not _SIZE.fullmatch(str(value)):
        return f"`{name}` takes a number such as 8192 or 8k, not {value!r}"
    return None


def _refused_json(name: str, value: Argument, option: Option, known: Known) -> str | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            return f"`{name}` takes JSON: {error}"
    if not isinstance(value, dict):
        return None
    for key in value:
        if option.keys is not None and key.replace("-", "_") not in option.keys:
            return f"`{name}` has no key `{key}`{_nearest(key, option.keys)}"
    methods = known.options.get("spec_method")
    if name == "speculative_config" and methods is not None and isinstance(value.get("method"), str):
        return _refused_scalar(f"{name}.method", str(value["method"]), methods)
    return None


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(names), n=1, cutoff=_CLOSE)
    return f" (did you mean `{close[0]}`?)" if close else ""
