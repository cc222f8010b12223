"""What is put before a question, and what a model is asked when it shall propose instructions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coe_mop._examples import Example

_PROPOSE = """\
Somebody was given one instruction and followed it for every input below.

{pairs}

Write that instruction, in one or two sentences, so that somebody who does not see these examples can follow \
it. Write only the instruction."""
_IDENTITY = """\
Below are questions and the answers of one expert.

{pairs}

Describe that expert in the second person, beginning with "You are": profession, knowledge and way of \
answering, in at most three sentences. Write only the description."""
_PAIR = "Input: {input}\nOutput: {output}"
_SHOWN_CHARS = 600  # of an input or output within a proposal
_INSTRUCTION_CHARS = 600
_LABEL = re.compile(
    r"^\s*(?:the\s+)?(?:instruction|task|description)(?:\s+(?:was|is))?\s*:\s*", re.IGNORECASE
)

TEMPLATE_HASH = hashlib.sha256(json.dumps([_PROPOSE, _IDENTITY, _PAIR, "chat-turns/1"]).encode()).hexdigest()
"""Of all that decides what a model sees for the same instruction and demonstrations."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """An instruction and demonstrations.

    Attributes:
        instruction: the system message; empty for none.
        demos: (input, output) pairs, shown as user and assistant turns.
    """

    instruction: str = ""
    demos: tuple[tuple[str, str], ...] = ()

    def messages(self, question: str) -> list[dict[str, Any]]:
        """The conversation that the base is sent; the same as the `prompt` expert kind makes of it."""
        system = [{"role": "system", "content": self.instruction}] if self.instruction else []
        turns = [
            {"role": role, "content": content}
            for shown in self.demos
            for role, content in zip(("user", "assistant"), shown, strict=True)
        ]
        return [*system, *turns, {"role": "user", "content": question}]

    @property
    def chars(self) -> int:
        """Its length: what every question pays for."""
        return len(self.instruction) + sum(len(text) for shown in self.demos for text in shown)


def shown(examples: Sequence[Example]) -> tuple[tuple[str, str], ...]:
    """The examples as demonstrations."""
    return tuple((example.input, example.output) for example in examples)


def proposal(examples: Sequence[Example], *, identity: bool = False) -> list[dict[str, Any]]:
    """Ask for the instruction (or the expert identity) behind these examples.

    Source: Automatic Prompt Engineer, arXiv 2211.01910; ExpertPrompting, arXiv 2305.14688.
    """
    pairs = "\n\n".join(
        _PAIR.format(input=each.input[:_SHOWN_CHARS], output=each.output[:_SHOWN_CHARS]) for each in examples
    )
    return [{"role": "user", "content": (_IDENTITY if identity else _PROPOSE).format(pairs=pairs)}]


def cleaned(answer: str) -> str:
    """An instruction as a model wrote it, without label, quotes and what follows the first paragraph."""
    text = _LABEL.sub("", answer.strip()).strip()
    paragraph = " ".join(text.split("\n\n")[0].split())
    return paragraph.strip("\"'` ")[:_INSTRUCTION_CHARS].strip()
