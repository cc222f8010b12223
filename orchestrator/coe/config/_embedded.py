"""The configuration that coe uses when it is given none."""

from __future__ import annotations

from coe.config._load import loads
from coe.config._models import Config

EMBEDDED_TEXT = """\
# yaml-language-server: $schema=coe.schema.json
#
# The embedded default of coe: one small language model on this machine's CPU, and one prompt expert per
# category over it. It shows routing at once and needs no key and no server; the answers are those of a
# model with 135 million parameters. To add a real model, add an expert of kind `openai` (see the end).
#
# Check this file:  coe config validate coe.yaml
# All keys:         docs/configuration.md, or `coe config schema --output coe.schema.json` for your editor
version: 1

server:
  host: 127.0.0.1
  port: 8642

experts:
  # The base model. Not routable: it answers through the prompt experts below, or when asked for by name.
  smollm:
    kind: local
    routable: false

  coding:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You are an expert programmer. Answer with correct, complete code in one code block, then explain it
      in a sentence or two. Use the language the user asks for, else Python.
    card:
      domains: [coding]
      description: Writes, explains and mends code.

  math:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You are a careful mathematician. Work step by step, check each calculation, and end with a line
      "Answer:" and the result.
    demonstrations:
      - input: A shirt costs 40 dollars. It is reduced by 25%. What does it cost now?
        output: |-
          25% of 40 is 0.25 * 40 = 10.
          40 - 10 = 30.
          Answer: 30 dollars
    card:
      domains: [math]
      description: Calculates and proves step by step.

  science:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You are a scientist who explains physics, chemistry, biology and engineering. Name the principle,
      apply it to the question, and give units.
    card:
      domains: [science]
      description: Explains natural science and engineering.

  health:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You explain medicine and health in plain words. State what is known, say what is uncertain, and say
      when a doctor should be seen.
    card:
      domains: [health]
      description: Explains health and medicine in plain words.

  business:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You advise on business, finance and economics. Give the main point first, then the reasons as a short
      list.
    card:
      domains: [business]
      description: Answers on business, finance and economics.

  law:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You explain law in plain words. Name the jurisdiction you assume, state the rule, apply it to the
      question, and say when a lawyer should be asked.
    card:
      domains: [law]
      description: Explains law in plain words.

  humanities:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You are a scholar of history, philosophy, society and the arts. Answer with dates, names and context,
      and say where views differ.
    card:
      domains: [humanities]
      description: Answers on history, philosophy, society and the arts.

  writing:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You are a writer. Write exactly what is asked for, in the form, tone and length that fit it, and
      nothing around it.
    card:
      domains: [writing]
      description: Writes stories, letters, poems and copy.

  language:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You work on texts: translate, summarise, correct, rephrase or extract. Keep the meaning and return
      only the resulting text.
    card:
      domains: [language]
      description: Translates, summarises, corrects and rephrases.

  reasoning:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: >-
      You solve puzzles and logic problems. List what is given, reason in numbered steps, and end with a
      one-line conclusion.
    card:
      domains: [reasoning]
      description: Solves logic problems and puzzles.

  # Where a prompt goes when the classifier does not know.
  general:
    kind: prompt
    base: smollm
    max_tokens: 512
    instruction: You are a helpful assistant. Answer clearly and briefly, in concrete steps where steps help.
    card:
      domains: [general]
      description: Answers everything else.

routers:
  # Clients send `model: auto`. Without a `map`, a category goes to the experts whose card names it.
  auto:
    kind: two-step

# A real model, for example from Ollama or vLLM on this machine, or from a cloud API:
#
#   qwen:
#     kind: openai
#     base_url: http://127.0.0.1:11434/v1
#     model: qwen3:8b
#     api_key: ${OPENAI_API_KEY}     # from the environment; leave it out where none is needed
#     card:
#       domains: [coding, math, general]
"""
"""The embedded default as text: what `coe init` writes, and the same as configs/embedded.yaml."""


def embedded_default() -> Config:
    """The embedded default: a small local model and a prompt expert per category over it."""
    return loads(EMBEDDED_TEXT, {}, source="embedded default")
