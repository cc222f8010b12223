"""What a merged adapter keeps of its parts' answers. Needs the extra `evaluate`: torch, transformers, peft.

Distances between weights say little of answers. Here each part's own greedy answers (or given ones) are laid
before the merged adapter word by word, as the right answers are in training: how probable it finds them, and
how often it would have gone on in the same way.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coe.errors import DataError, PluginError


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt to compare answers on.

    Attributes:
        prompt: one user turn.
        adapter: whose it is; None for every part.
        answer: the right one; None for the part's own.
    """

    prompt: str
    adapter: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one part's answers.

    Attributes:
        answers, tokens: how many were compared.
        own, merged, base: mean log-likelihood of a token, in nats, by the part itself, by the merged adapter,
            and by the base model without any.
        agreement: share of tokens that the merged adapter would have chosen too, after the same beginning.
        base_agreement: the same of the base model: what is worth nothing.
        whole: share of answers of which it would have chosen every token.
    """

    answers: int
    tokens: int
    own: float
    merged: float
    base: float
    agreement: float
    base_agreement: float
    whole: float


def answers_kept(
    model: Path,
    adapters: Mapping[str, Path],
    merged: Path,
    questions: Sequence[Question],
    max_tokens: int = 32,
) -> dict[str, Kept]:
    """Compare the merged adapter with its parts.

    Args:
        model: folder of the base model.
        adapters: folders of the parts, by name.
        merged: folder of the merged one.
        questions: at least one for each part.
        max_tokens: longest answer that is made.

    Raises:
        DataError: a part without a question.
        PluginError: torch, transformers or peft is not installed.
    """
    by_part = {name: [each for each in questions if each.adapter in (None, name)] for name in adapters}
    if empty := [name for name, asked in by_part.items() if not asked]:
        raise DataError(f"No prompt is for `{empty[0]}`.")
    speaker = _Speaker(model, {**{f"part {name}": path for name, path in adapters.items()}, "merged": merged})
    return {name: _kept(speaker, f"part {name}", asked, max_tokens) for name, asked in by_part.items()}


def _kept(speaker: _Speaker, part: str, questions: Sequence[Question], max_tokens: int) -> Kept:
    tokens = agreed = base_agreed = whole = 0
    own = merged = base = 0.0
    for question in questions:
        prompt = speaker.prompt(question.prompt)
        answer = (
            speaker.answer(prompt, part, max_tokens)
            if question.answer is None
            else speaker.tokens(question.answer)
        )
        own += speaker.judged(prompt, answer, part)[0]
        likelihood, same = speaker.judged(prompt, answer, "merged")
        merged += likelihood
        agreed += same
        whole += same == len(answer)
        likelihood, same = speaker.judged(prompt, answer, None)
        base += likelihood
        base_agreed += same
        tokens += len(answer)
    return Kept(
        answers=len(questions),
        tokens=tokens,
        own=own / tokens,
        merged=merged / tokens,
        base=base / tokens,
        agreement=agreed / tokens,
        base_agreement=base_agreed / tokens,
        whole=whole / len(questions),
    )


class _Speaker:
    """A base model with several adapters, of which one at a time speaks."""

    def __init__(self, model: Path, adapters: Mapping[str, Path]) -> None:
        self._torch, transformers, peft = map(_module, ("torch", "transformers", "peft"))
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(str(model))
        base: Any = transformers.AutoModelForCausalLM.from_pretrained(str(model), dtype=self._torch.float32)
        self._names = {name: f"adapter{number}" for number, name in enumerate(adapters)}
        (first, path), *others = adapters.items()
        self._model: Any = peft.PeftModel.from_pretrained(base, str(path), adapter_name=self._names[first])
        for name, folder in others:
            self._model.load_adapter(str(folder), adapter_name=self._names[name])
        self._model.eval()

    def tokens(self, text: str) -> list[int]:
        """Of an answer, with the end that the model would give it."""
        return [*self._tokenizer(text, add_special_tokens=False)["input_ids"], self._tokenizer.eos_token_id]

    def prompt(self, text: str) -> list[int]:
        """Of one user turn, as a chat where the model has a template for chats."""
        if self._tokenizer.chat_template:
            turn = [{"role": "user", "content": text}]
            text = self._tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
            return self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._tokenizer(text)["input_ids"]

    def answer(self, prompt: list[int], adapter: str, max_tokens: int) -> list[int]:
        """The greedy answer, at least one token."""
        self._model.set_adapter(self._names[adapter])
        torch = self._torch
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            made = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=max_tokens,
                min_new_tokens=1,
                do_sample=False,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        return made[0, len(prompt) :].tolist()

    def judged(self, prompt: list[int], answer: list[int], adapter: str | None) -> tuple[float, int]:
        """Log-likelihood of an answer in nats, and how many of its tokens are the most probable."""
        torch = self._torch
        with torch.inference_mode():
            ids = torch.tensor([prompt + answer])
            if adapter is None:
                with self._model.disable_adapter():
                    logits = self._model(input_ids=ids).logits
            else:
                self._model.set_adapter(self._names[adapter])
                logits = self._model(input_ids=ids).logits
            rows = logits[0, len(prompt) - 1 : -1].float()
            target = torch.tensor(answer)
            likely = torch.log_softmax(rows, dim=-1)[torch.arange(len(answer)), target]
            return float(likely.sum()), int((rows.argmax(-1) == target).sum())


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise PluginError(
            f"Comparing answers needs {name}, which is not installed.",
            hint="Install coe-vllm[evaluate], or run coe of the environment with vLLM: it has all of it.",
        ) from None
