"""What the installed vLLM takes, as one JSON document on stdout.

Run as a script by the Python of the environment that holds vLLM; it imports nothing of coe. Its options come
from vLLM's own parser: names, choices, and what values its types accept, found by trying a few.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

_PARSERS = ("vllm.utils.argparse_utils", "vllm.utils")
_MODULES = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
"""Where releases keep both, the newest first."""
_SAMPLES = ("x", "{}", "1k", "1.5", "1")


def main() -> None:
    """Print it, after whatever vLLM prints while it is imported."""
    sys.path.pop(0)  # our own folder, whose modules are nobody's business here
    with contextlib.redirect_stdout(sys.stderr):
        document = described()
    print(json.dumps(document), flush=True)


def described() -> dict[str, Any]:
    """The document: version, origin, options by name, names of environment variables."""
    vllm = importlib.import_module("vllm")
    origin = Path(str(vllm.__file__))
    make = found(_MODULES, "make_arg_parser")
    parser: argparse.ArgumentParser = make(found(_PARSERS, "FlexibleArgumentParser")())
    options: dict[str, dict[str, Any]] = {}
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]  (argparse lists them nowhere else)
        for flag in action.option_strings:
            if flag.startswith("--") and not (flag.startswith("--no-") and action.nargs == 0):
                options[flag[2:].replace("-", "_")] = option(action)
    # Plugins of vLLM may add methods, so its parser leaves these open; they are known once it is imported.
    methods = attribute("vllm.model_executor.layers.quantization", "QUANTIZATION_METHODS")
    if methods and "quantization" in options:
        options["quantization"]["choices"] = sorted(map(str, methods))
    for name, entry in options.items():
        if entry["takes"] == "json":
            entry["keys"] = keys(name)
    return {
        "version": str(getattr(vllm, "__version__", "")),
        "origin": str(origin),
        "origin_ns": origin.stat().st_mtime_ns,
        "options": options,
        "environment": sorted(attribute("vllm.envs", "environment_variables") or ()),
    }


def option(action: argparse.Action) -> dict[str, Any]:
    """One option: what it `takes` (switch, flag, text, json, size, float, int, other), its choices."""
    choices = None if action.choices is None else [str(each) for each in action.choices if each is not None]
    if action.nargs == 0:
        negated = any(flag.startswith("--no-") for flag in action.option_strings)
        return {"takes": "flag" if negated else "switch", "several": False, "choices": None, "keys": None}
    return {
        "takes": accepted(action.type),
        "several": action.nargs not in (None, "?"),
        "choices": choices,
        "keys": None,
    }


def accepted(kind: Any) -> str:
    """What an option's type accepts."""
    if kind is None or kind is str:
        return "text"
    taken: set[str] = set()
    for sample in _SAMPLES:
        # A type may raise whatever it likes for what it does not take.
        with contextlib.suppress(Exception):
            kind(sample)
            taken.add(sample)
    for sample, name in zip(_SAMPLES, ("text", "json", "size", "float", "int"), strict=True):
        if sample in taken:
            return name
    return "other"


def keys(name: str) -> list[str] | None:
    """The keys of an option whose value is one of vLLM's configuration classes, by the class's name."""
    configs = {each.lower(): each for each in dir(importlib.import_module("vllm.config"))}
    owner = attribute("vllm.config", configs.get(name.replace("_", ""), ""))
    fields = getattr(owner, "__dataclass_fields__", None)
    if not name.endswith("_config") or not fields:
        return None
    return sorted(each for each in fields if not each.startswith("_"))


def found(modules: tuple[str, ...], name: str) -> Any:
    """The first of the modules' attributes of that name. Raises `ImportError`."""
    for module in modules:
        if (value := attribute(module, name)) is not None:
            return value
    raise ImportError(f"no {name} in {' or '.join(modules)}")


def attribute(module: str, name: str) -> Any:
    """A module's attribute; None without the module or the attribute."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


if __name__ == "__main__":
    main()
