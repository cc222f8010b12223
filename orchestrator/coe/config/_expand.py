"""`${NAME}` and `${file:PATH}` in string values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_TOKEN = re.compile(r"\$\$\{|\$\{(?P<name>[^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_SECRET_BYTES = 65_536


class ExpandError(ValueError):
    """A placeholder cannot be replaced. The message names it, and no value."""


def expand(text: str, environ: Mapping[str, str], base_dir: Path) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Replace the placeholders of one value; `$${` stands for a literal `${`.

    Args:
        text: the value as written.
        environ: where `${NAME}` is looked up.
        base_dir: where relative paths of `${file:PATH}` start.

    Returns:
        The value, and (placeholder, replacement) for each placeholder.

    Raises:
        ExpandError: a variable is not set, a file cannot be read, or `${` starts no known placeholder.
    """
    used: list[tuple[str, str]] = []

    def replace(match: re.Match[str]) -> str:
        if (token := match[0]) == "$${":
            return "${"
        used.append((token, value := _value(match["name"], environ, base_dir)))
        return value

    return _TOKEN.sub(replace, text), tuple(used)


def _value(name: str | None, environ: Mapping[str, str], base_dir: Path) -> str:
    if name is not None and name.startswith("file:"):
        return _file(name.removeprefix("file:"), base_dir)
    if name is None or not _NAME.fullmatch(name):
        raise ExpandError(
            "`${` must start `${NAME}` or `${file:PATH}`; there are no defaults. "
            "Write `$${` for a literal `${`."
        )
    if name not in environ:
        raise ExpandError(f"environment variable `{name}` is not set.")
    return environ[name]


def _file(name: str, base_dir: Path) -> str:
    try:
        path = base_dir / name
        # Nothing but a regular file: a terminal or a pipe would block the start.
        if not path.is_file():
            raise ExpandError(f"`{name}` is not a file.")
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
        if len(content) > _MAX_SECRET_BYTES:
            raise ExpandError(f"`{name}` is larger than {_MAX_SECRET_BYTES} bytes.")
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ExpandError(f"`{name}` cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ExpandError(f"`{name}` is not UTF-8 text.") from error
    except ExpandError:
        raise
    except ValueError as error:  # a zero byte in the name
        raise ExpandError("the name of the file holds a zero byte.") from error
