"""The files of a new plugin package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Template

from coe.cli import _templates
from coe.errors import UserError

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution and its files: text by path inside its folder."""

    distribution: str
    files: dict[str, str]


def scaffold(name: str, group: str) -> Package:
    """A plugin package that installs and passes its tests.

    Args:
        name: the plugin's name in the configuration; the distribution is `coe-NAME`.
        group: `expert` or `router`.

    Raises:
        UserError: the name cannot be one of a distribution.
    """
    name = name.removeprefix("coe-")
    if not _NAME.fullmatch(name) or name in ("router", "kernels"):
        raise UserError(
            f"`{name}` cannot be the name of a plugin.",
            hint="Use lower-case letters, digits and single hyphens, starting with a letter.",
        )
    module = f"coe_{name.replace('-', '_')}"
    words = {
        "name": name,
        "group": group,
        "distribution": f"coe-{name}",
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")) + group.capitalize(),
        "function": name.replace("-", "_"),
    }
    sources = _templates.EXPERT if group == "expert" else _templates.ROUTER
    texts = {
        "pyproject.toml": _templates.PYPROJECT,
        "README.md": sources.readme,
        f"src/{module}/__init__.py": sources.registration,
        f"src/{module}/{group}.py": sources.implementation,
        f"src/{module}/py.typed": "",
        f"tests/test_{group}.py": sources.tests,
    }
    return Package(f"coe-{name}", {path: Template(text).substitute(words) for path, text in texts.items()})
