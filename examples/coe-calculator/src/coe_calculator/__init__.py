"""Registration: what the entry points name. Imports the contracts only; the rest when it is asked for."""

from __future__ import annotations

from coe.contracts import Expert, Plugin, Router


def calculator() -> Plugin[Expert]:
    """The expert kind `calculator`."""
    from coe_calculator._expert import CalculatorSettings, create_calculator

    return Plugin(CalculatorSettings, create_calculator, "Arithmetic, exactly")


def rules() -> Plugin[Router]:
    """The router kind `rules`."""
    from coe_calculator._router import RulesSettings, create_rules

    return Plugin(RulesSettings, create_rules, "Regular expressions to experts")
