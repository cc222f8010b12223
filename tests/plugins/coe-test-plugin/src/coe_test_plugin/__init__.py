"""Registration: imports nothing but the contracts; each function imports its own part when called."""

from __future__ import annotations

from coe.contracts import DecisionCache, Embedder, Expert, Plugin, RewardExpert, Router


def shout() -> Plugin[Expert]:
    """An expert that answers in capitals."""
    from coe_test_plugin.expert import ShoutSettings, create_shout

    return Plugin(ShoutSettings, create_shout, "Answers in capitals", shared=True)


def critic() -> Plugin[RewardExpert]:
    """An expert that scores answers, and embeds besides."""
    from coe_test_plugin.reward import CriticSettings, create_critic

    return Plugin(CriticSettings, create_critic, "Scores answers by the words of the question", shared=True)


def first() -> Plugin[Router]:
    """A router that takes the first expert."""
    from coe_test_plugin.router import FirstSettings, create_first

    return Plugin(FirstSettings, create_first, "Takes the first expert of the pool")


def letters() -> Plugin[Embedder]:
    """An embedder that counts letters."""
    from coe_test_plugin.embedder import LettersSettings, create_letters

    return Plugin(LettersSettings, create_letters, "Counts letters")


def dictionary() -> Plugin[DecisionCache]:
    """A cache in a dict."""
    from coe_test_plugin.cache import DictSettings, create_dict

    return Plugin(DictSettings, create_dict, "Keeps decisions in a dict")


def wrong_type() -> object:
    """Returns something that is no Plugin."""
    return {"not": "a plugin"}
