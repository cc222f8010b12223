"""One JSON Schema for the whole file, with every installed plugin in it."""

from __future__ import annotations

from typing import Any, cast

from pydantic.errors import PydanticUserError

from coe.config._models import Config, ExpertConfig, PluginSettings, RouterConfig
from coe.contracts import Plugin
from coe.errors import PluginError
from coe.registry import Registry

Schema = dict[str, Any]

_SECTIONS: tuple[tuple[str, type[PluginSettings]], ...] = (
    ("experts", ExpertConfig),
    ("routers", RouterConfig),
    ("caches", PluginSettings),
)
_PLACEHOLDER: Schema = {"type": "string", "pattern": r"\$\{"}
_NOT_SCHEMAS = {"default", "required", "examples", "if"}
_LIMITS = {"pattern", "format", "minLength", "maxLength", "enum", "const"}


def json_schema(registry: Registry) -> Schema:
    """The schema of a configuration file, for editors. Imports every installed plugin of the registry.

    Args:
        registry: the plugins to describe.

    Returns:
        A JSON Schema, draft 2020-12. The settings of an expert or router depend on its `kind`. Plugins that
        do not load are left out; `$comment` names them, one a line. Wherever a value may be a placeholder,
        `${NAME}` is accepted.
    """
    schema = Config.model_json_schema()
    defs: Schema = schema.pop("$defs")
    notes: list[str] = []
    for section, model in _SECTIONS:
        variants: dict[str, str] = {}
        for kind in registry.names(f"coe.{section}"):
            try:
                plugin = registry.plugin(f"coe.{section}", kind)
                defs |= _definitions(f"{section}.{kind}", kind, plugin, model)
            except (PluginError, PydanticUserError) as error:
                notes.append(f"{kind} of coe.{section} is left out: {error.message}")
            else:
                variants[kind] = plugin.description
        if variants:
            # What the file refers to as any plugin's block becomes the block of an installed one.
            defs[model.__name__] = _by_kind(section, variants)
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "coe configuration",
        **({"$comment": "\n".join(notes)} if notes else {}),
        **{key: value for key, value in schema.items() if key != "title"},
        "$defs": defs,
    }
    return _with_placeholders(described)


def _definitions(name: str, kind: str, plugin: Plugin[Any], model: type[PluginSettings]) -> Schema:
    own = plugin.settings.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    common = model.model_json_schema()["properties"]
    nested = {f"{name}.{key}": value for key, value in own.pop("$defs", {}).items()}
    variant = {
        "description": plugin.description,
        "type": "object",
        "properties": {**own.get("properties", {}), **common, "kind": {"const": kind}},
        "required": ["kind", *own.get("required", [])],
        "additionalProperties": False,
    }
    return {name: variant, **nested}


def _by_kind(section: str, variants: dict[str, str]) -> Schema:
    """One branch for each kind: a wrong key is then reported against its own plugin, not against all."""
    kinds = [{"const": kind, "description": text} for kind, text in variants.items()]
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"description": "Name of the plugin.", "oneOf": kinds}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{section}.{kind}"},
            }
            for kind in variants
        ],
    }


def _with_placeholders(schema: Schema) -> Schema:
    """Let `${NAME}` stand where a number, a boolean or a limited text is wanted."""
    defs = {name: _walk(each) for name, each in schema["$defs"].items()}
    properties = {name: _walk(each) for name, each in schema["properties"].items()}
    return {**schema, "properties": properties, "$defs": defs}


def _walk(node: Any) -> Any:
    if isinstance(node, list):
        return [_walk(each) for each in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    schema = cast("Schema", node)
    if not _limited(schema):
        return {key: value if key in _NOT_SCHEMAS else _walk(value) for key, value in schema.items()}
    outside = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    limited = {key: value for key, value in schema.items() if key not in outside}
    return {**outside, "anyOf": [limited, _PLACEHOLDER]}


def _limited(node: Schema) -> bool:
    kind = node.get("type")
    return kind in ("integer", "number", "boolean") or (kind == "string" and not _LIMITS.isdisjoint(node))
