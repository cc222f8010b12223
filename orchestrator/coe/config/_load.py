"""Text to `Config`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coe.config._explain import explain, suggest
from coe.config._models import Config, Origin
from coe.config._problems import InvalidConfig, KeyPath, Problem
from coe.config._references import unknown_expert
from coe.config._yaml import Document, parse
from coe.errors import ConfigError

_OPEN_FILES = (Path("/dev"), Path("/dev/fd"))


def load(path: Path | str, environ: Mapping[str, str]) -> Config:
    """Read a configuration file.

    Args:
        path: a YAML file in UTF-8. Relative paths inside start from its folder.
        environ: where `${NAME}` is looked up.

    Raises:
        ConfigError: the file cannot be read.
        InvalidConfig: what it says is wrong; all problems at once.
    """
    path = Path(path)
    text = read_text(path)
    return loads(text, environ, source=str(path), base_dir=folder_of(path))


def folder_of(path: Path) -> Path:
    """Where relative paths in a configuration start: its folder; the working directory where it has none."""
    folder = path.absolute().parent
    # /dev/stdin, /dev/fd/3 and /proc/self/fd/3; /dev/shm is a folder like any other.
    is_open_file = folder in _OPEN_FILES or folder.parts[1:2] == ("proc",)
    return Path.cwd() if is_open_file else folder


def read_text(path: Path) -> str:
    """The text of a configuration file. Raises `ConfigError` when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        hint = "Write one with `coe init`." if isinstance(error, FileNotFoundError) else None
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint=hint) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: byte {error.start} does not fit.") from error


def loads(
    text: str, environ: Mapping[str, str], *, source: str = "configuration", base_dir: Path | None = None
) -> Config:
    """Read a configuration from text.

    Args:
        text: YAML.
        environ: where `${NAME}` is looked up.
        source: what problems call the text.
        base_dir: where relative paths start; the working directory by default.

    Raises:
        InvalidConfig: what the text says is wrong; all problems at once.
    """
    document = parse(text, environ, source=source, base_dir=base_dir or Path.cwd())
    origin = Origin(source, document.base_dir, document.lines, document.raw, frozenset(document.replaced))
    if document.data is None and not document.problems:
        document.problem(None, (), "is empty; expected at least `experts` and `routers`.")
    # A text that is not YAML has no keys to look at.
    if any(not problem.path for problem in document.problems):
        raise InvalidConfig(document.problems)
    config = _validate(document, origin)
    if config is not None:
        config.attach(origin)
        document.problems += _cross_references(config)
    if config is None or document.problems:
        raise InvalidConfig(document.problems, config)
    return config


def _validate(document: Document, origin: Origin) -> Config | None:
    data: Any = document.data
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        told = {problem.path for problem in document.problems}
        found = (origin.problem(*each) for each in explain(error, Config, origin.raw, origin.replaced))
        # What could not be read was left empty: that it is empty is no news.
        document.problems += [problem for problem in found if problem.path not in told]
        return None


def _cross_references(config: Config) -> Iterator[Problem]:
    origin = config.origin
    routable = [name for name, expert in config.experts.items() if expert.routable]
    for name, router in config.routers.items():
        here: KeyPath = ("routers", name)
        if name in config.experts:
            yield origin.problem(here, "an expert has the same name; clients could not tell them apart.")
        if router.experts is None and not routable:
            yield origin.problem(here, "no expert is routable.")
        if router.experts is not None and not router.experts:
            yield origin.problem((*here, "experts"), "names no expert.")
        for index, expert in enumerate(router.experts or ()):
            if expert not in config.experts:
                yield origin.problem((*here, "experts", index), unknown_expert(expert, config.experts))
    yield from _tenants(config)


def _tenants(config: Config) -> Iterator[Problem]:
    origin = config.origin
    models = [*config.routers, *config.experts]
    for tenant, policy in config.tenants.policies.items():
        here: KeyPath = ("tenants", "policies", tenant)
        for name in sorted((policy.models or frozenset()).difference(models)):
            message = f"`{name}` is neither a router nor an expert. {suggest(name, models)}"
            yield origin.problem((*here, "models"), message)
        for name in sorted((policy.experts or frozenset()).difference(config.experts)):
            yield origin.problem((*here, "experts"), unknown_expert(name, config.experts))
        if (strong := policy.strong_share) is None:
            continue
        for index, name in enumerate(strong.experts):
            if name not in config.experts:
                path = (*here, "strong_share", "experts", index)
                yield origin.problem(path, unknown_expert(name, config.experts))
        if strong.max_share * strong.window < 1:
            least = math.ceil(1 / strong.max_share)
            message = f"too short for a share of {strong.max_share:g}: at least {least}."
            yield origin.problem((*here, "strong_share", "window"), message)
