"""YAML text to plain data, with the line of every key.

The rules are those of YAML 1.2's core schema, as editors and the JSON Schema see the file: `no`, `on` and
`1:30` are text, not booleans and sixties. Tags and merge keys are refused; anchors and aliases work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from coe.config._expand import ExpandError, expand
from coe.config._problems import KeyPath, Problem

_MAX_NODES = 100_000
_PREFIX = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Document:
    """A parsed file.

    Attributes:
        source: the file as the user named it.
        base_dir: where its relative paths start.
        data: what it says, placeholders replaced.
        lines: the line of each key and list item, counted from 1.
        raw: values that held placeholders, as written.
        replaced: (placeholder, replacement) of all of them; must never be shown.
        problems: what could not be read.
    """

    source: str
    base_dir: Path
    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    raw: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    replaced: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]], repr=False)
    problems: list[Problem] = field(default_factory=list[Problem])

    def problem(self, line: int | None, path: KeyPath, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(self.source, line, path, message))


def parse(text: str, environ: Mapping[str, str], *, source: str, base_dir: Path) -> Document:
    """Parse one YAML document. Never raises for a wrong text: see `Document.problems`."""
    document = Document(source, base_dir)
    loader = None
    try:
        loader = _Loader(text)
        if node := loader.get_single_node():
            document.data = _Reader(document, environ).read(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        parts = (_without_content(part) for part in (error.context, error.problem) if part)
        message = f"not YAML: {', '.join(parts)}"
        line = mark.line + 1 if mark else None
        if line and "${" in "".join(text.splitlines()[line - 1 : line]):
            message += "; inside `{}` or `[]` a `${…}` needs quotes"
        document.problem(line, (), f"{message}.")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problem(line, (), "not YAML: it holds a character that YAML does not allow.")
    except RecursionError:
        document.problem(None, (), "nested too deeply.")
    finally:
        if loader:
            loader.dispose()
    return document


_RESOLVERS = (
    ("null", r"(?:~|null|Null|NULL|)$", ("~", "n", "N", "")),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("merge", r"<<$", "<"),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    by_first: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, firsts in _RESOLVERS:
        for first in firsts:
            by_first.setdefault(first, []).append((_PREFIX + tag, re.compile(pattern)))
    return by_first


class _Loader(yaml.SafeLoader):
    """SafeLoader that tells types apart as YAML 1.2 does."""

    yaml_implicit_resolvers = _resolvers()


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": _int,
    "float": _float,
    "str": lambda text: text,
}


class _Reader:
    """Nodes to data, noting lines and problems on the way."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._nodes = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self._document.lines.setdefault(path, line)
        self._nodes += 1
        # Aliases of aliases multiply: a short text can stand for a document that fills the memory.
        if self._nodes > _MAX_NODES:
            if self._nodes == _MAX_NODES + 1:
                self._document.problem(line, (), f"more than {_MAX_NODES} values.")
            return None
        if id(node) in self._open:
            self._document.problem(line, path, "an alias refers to what contains it.")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                self._plain_tag(node, "seq", path)
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._value(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._plain_tag(node, "map", path)
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in data:
                first = self._document.lines[here]
                self._document.problem(line, here, f"stands twice; first on line {first}.")
                continue
            self._document.lines[here] = line
            data[key] = self.read(value_node, here)
        return data

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        line = node.start_mark.line + 1
        if node.tag == _PREFIX + "merge":
            self._document.problem(line, path, "merge keys (`<<`) are not supported; write the keys out.")
            return None
        key = self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else node
        if isinstance(key, str):
            return key
        found = f"`{node.value}`" if isinstance(node, yaml.ScalarNode) else "a list or block"
        self._document.problem(line, path, f"a key must be text, found {found}; put it in quotes.")
        return None

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        value = self._scalar(node, path)
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            expanded, used = expand(value, self._environ, self._document.base_dir)
        except ExpandError as error:
            self._document.problem(node.start_mark.line + 1, path, str(error))
            return None
        if used:
            self._document.raw[path] = value
            self._document.replaced.update(used)
        return expanded

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text: str = node.value
        try:
            value = _SCALARS[node.tag.removeprefix(_PREFIX)](text)
            text.encode()
        except (KeyError, UnicodeEncodeError, ValueError):
            self._document.problem(node.start_mark.line + 1, path, self._why_not(node.tag, text))
            return None
        return value

    def _plain_tag(self, node: yaml.Node, tag: str, path: KeyPath) -> None:
        if node.tag != _PREFIX + tag:
            self._document.problem(node.start_mark.line + 1, path, "YAML tags (`!…`) are not supported.")

    @staticmethod
    def _why_not(tag: str, text: str) -> str:
        if tag.removeprefix(_PREFIX) not in _SCALARS:
            return "YAML tags (`!…`) are not supported; a text that starts with `!` needs quotes."
        if any("\ud800" <= char <= "\udfff" for char in text):
            return "half of a surrogate pair is not a character."
        return f"not a value of YAML's type {tag.removeprefix(_PREFIX)}."


def _without_content(part: str) -> str:
    """PyYAML quotes names and tags, which may be an unquoted password: keep the grammar, drop the content."""
    quoted = re.findall(r"'([^']*)'", part)
    if "'" not in part or all(re.fullmatch(r"<[a-z ]+>|.", text) for text in quoted):
        return part
    head, tail = part.split("'", 1)[0], part.rsplit("'", 1)[1]
    return f"{head}`…`{tail}; a text that starts with `*`, `&`, `!`, `@` or `%` needs quotes"
