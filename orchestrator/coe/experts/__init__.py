"""Built-in expert kinds. They register through the same entry points as anyone's (`coe.experts`).

Importing this package imports none of them: each function below imports its kind when it is named.
"""

from __future__ import annotations

from coe.contracts import Expert, Plugin


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

    return Plugin(LocalSettings, create_local, "A GGUF model on this machine's CPU through llama.cpp")


def prompt() -> Plugin[Expert]:
    """An instruction and demonstrations on a base expert."""
    from coe.experts._prompt import PromptSettings, create_prompt

    return Plugin(PromptSettings, create_prompt, "An instruction and demonstrations on a base expert")
