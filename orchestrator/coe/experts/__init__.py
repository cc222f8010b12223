"""Built-in expert kinds. They register through the same entry points as anyone's (`coe.experts`).

Importing this package imports none of them: each function below imports its kind when it is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from coe.config import Config
from coe.contracts import Expert, Plugin

if TYPE_CHECKING:
    from coe.experts._hosted import Host


def openai() -> Plugin[Expert]:
    """Any server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp, a cloud API."""
    from coe.experts._openai import OpenAISettings, create_openai

    return Plugin(
        OpenAISettings, create_openai, "Any OpenAI-compatible server (vLLM, Ollama, llama.cpp, cloud)"
    )


def echo() -> Plugin[Expert]:
    """Answers with the prompt; for tests and for trying a configuration out."""
    from coe.experts._echo import EchoSettings, create_echo

    return Plugin(EchoSettings, create_echo, "Answers with the prompt, for tests")


def local() -> Plugin[Expert]:
    """A small real model on this machine's CPU, the embedded default."""
    from coe.experts._local import LocalSettings, create_local

    return Plugin(
        LocalSettings, create_local, "A GGUF model on this machine's CPU through llama.cpp", shared=True
    )


def prompt() -> Plugin[Expert]:
    """An instruction and demonstrations on a base expert."""
    from coe.experts._prompt import PromptSettings, create_prompt

    return Plugin(PromptSettings, create_prompt, "An instruction and demonstrations on a base expert")


def host(base_url: str, key: str) -> Host:
    """The process at `base_url` that runs experts for several others; `key` opens it."""
    from coe.experts._hosted import Host

    return Host(base_url, key)


def hosted(original: Expert, host: Host) -> Expert:
    """A stand-in for an expert that the host runs."""
    from coe.experts._hosted import HostedExpert

    return HostedExpert(original, host)


def fetch_models(config: Config, progress: Callable[[str], None]) -> None:
    """Fetch the weights that the configuration's `local` experts need and this machine has not.

    Args:
        config: a checked configuration.
        progress: told in a few words what is going on; not called when all is there.

    Raises:
        UserError: they cannot be fetched.
    """
    if any(expert.kind == "local" for expert in config.experts.values()):
        from coe.experts._local import fetch_default_model

        fetch_default_model(config, progress)
