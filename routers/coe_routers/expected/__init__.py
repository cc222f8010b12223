"""The router that training makes: a classifier and a rule, saved together."""

from coe_routers.expected._router import PLUGIN, ExpectedRouter, ExpectedSettings, load_expected
from coe_routers.expected._saved import load_rule, map_of, rule_facts, rule_files

__all__ = [
    "PLUGIN",
    "ExpectedRouter",
    "ExpectedSettings",
    "load_expected",
    "load_rule",
    "map_of",
    "rule_facts",
    "rule_files",
]
