"""Public prompts with labels that the built-in classifier is trained on, and how their labels map to ours.

Only sources whose licence allows a derived model to be passed on: Apache-2.0, MIT, CC BY. The prompts
themselves are read from the folder of recorded data and are no part of this project.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GENERAL = "general"


@dataclass(frozen=True)
class Example:
    """One labelled prompt.

    `source` and `licence` end in the artifact's facts; prompts of one `group` stay on one side of a split.
    """

    text: str
    category: str
    source: str
    licence: str
    group: str = ""


SCIENCE, HEALTH, LAW, BUSINESS, HUMANITIES = "science", "health", "law", "business", "humanities"
CODING, MATH, WRITING, LANGUAGE, REASONING = "coding", "math", "writing", "language", "reasoning"

MMLU_PRO = {
    "math": MATH, "physics": SCIENCE, "chemistry": SCIENCE, "biology": SCIENCE, "engineering": SCIENCE,
    "health": HEALTH, "law": LAW, "economics": BUSINESS, "business": BUSINESS,
    "philosophy": HUMANITIES, "history": HUMANITIES, "psychology": HUMANITIES, "computer science": CODING,
}  # fmt: skip
MMLU = {
    "professional_law": LAW, "international_law": LAW, "jurisprudence": LAW,
    "moral_disputes": HUMANITIES, "philosophy": HUMANITIES, "prehistory": HUMANITIES,
    "world_religions": HUMANITIES, "high_school_world_history": HUMANITIES,
    "high_school_us_history": HUMANITIES, "high_school_european_history": HUMANITIES,
    "sociology": HUMANITIES, "high_school_psychology": HUMANITIES, "professional_psychology": HUMANITIES,
    "high_school_government_and_politics": HUMANITIES, "us_foreign_policy": HUMANITIES,
    "security_studies": HUMANITIES, "high_school_geography": HUMANITIES,
    "high_school_macroeconomics": BUSINESS, "high_school_microeconomics": BUSINESS,
    "professional_accounting": BUSINESS, "marketing": BUSINESS, "management": BUSINESS,
    "public_relations": BUSINESS, "business_ethics": BUSINESS, "econometrics": BUSINESS,
    "nutrition": HEALTH, "professional_medicine": HEALTH, "clinical_knowledge": HEALTH,
    "human_aging": HEALTH, "college_medicine": HEALTH, "virology": HEALTH, "human_sexuality": HEALTH,
    "anatomy": HEALTH, "medical_genetics": HEALTH,
    "high_school_biology": SCIENCE, "college_biology": SCIENCE, "conceptual_physics": SCIENCE,
    "high_school_physics": SCIENCE, "college_physics": SCIENCE, "high_school_chemistry": SCIENCE,
    "college_chemistry": SCIENCE, "astronomy": SCIENCE, "electrical_engineering": SCIENCE,
    "elementary_mathematics": MATH, "high_school_mathematics": MATH, "college_mathematics": MATH,
    "abstract_algebra": MATH, "high_school_statistics": MATH,
    "high_school_computer_science": CODING, "college_computer_science": CODING,
    "computer_security": CODING, "machine_learning": CODING,
    "logical_fallacies": REASONING, "formal_logic": REASONING,
    "miscellaneous": GENERAL, "global_facts": GENERAL,
}  # fmt: skip
LLMROUTER = {
    "gsm8k": (MATH, "MIT"), "math": (MATH, "MIT"),
    "mbpp": (CODING, "CC BY 4.0"), "human_eval": (CODING, "MIT"),
    "openbook_qa": (SCIENCE, "Apache-2.0"), "trivia_qa": (GENERAL, "Apache-2.0"),
    "commonsense_qa": (GENERAL, "MIT"),
}  # fmt: skip
BBH = {
    "boolean_expressions": REASONING, "causal_judgement": REASONING, "date_understanding": REASONING,
    "formal_fallacies": REASONING, "logical_deduction_five_objects": REASONING,
    "logical_deduction_seven_objects": REASONING, "logical_deduction_three_objects": REASONING,
    "navigate": REASONING, "object_counting": REASONING, "penguins_in_a_table": REASONING,
    "reasoning_about_colored_objects": REASONING, "temporal_sequences": REASONING,
    "tracking_shuffled_objects_five_objects": REASONING,
    "tracking_shuffled_objects_seven_objects": REASONING,
    "tracking_shuffled_objects_three_objects": REASONING, "web_of_lies": REASONING,
    "multistep_arithmetic_two": MATH, "disambiguation_qa": LANGUAGE, "hyperbaton": LANGUAGE,
    "salient_translation_error_detection": LANGUAGE, "word_sorting": LANGUAGE,
    "movie_recommendation": GENERAL, "sports_understanding": GENERAL,
}  # fmt: skip
BIGGEN = {
    "code_revision": CODING, "coding_for_math": CODING, "tool_making": CODING, "api_documentation": CODING,
    "json_csv_xml": CODING, "math_proof": MATH, "competition_mwp": MATH, "high_school_mwp": MATH,
    "deductive": REASONING, "abductive": REASONING, "inductive": REASONING, "first_order_logic": REASONING,
    "multistep_tom": REASONING, "legal_reason": LAW, "writing_a_speech": WRITING, "poem_writing": WRITING,
    "robust_translation": LANGUAGE, "essay_revision": LANGUAGE, "travel_plan": GENERAL,
    "personal_assistant": GENERAL, "item_recommendation": GENERAL, "role_playing": GENERAL,
    "guess_the_emotion": GENERAL,
}  # fmt: skip
SELF_INSTRUCT = {
    "Grammarly": LANGUAGE, "merriam-webster.com": LANGUAGE, "Doulingo": LANGUAGE, "ludwig.guru": LANGUAGE,
    "Wolfram alpha": MATH, "GeeksforGeeks": CODING, "Leetcode": CODING, "StackOverflow": CODING,
    "w3schools": CODING, "Blogger": WRITING, "Gmail": WRITING, "Twitter": WRITING, "Instagram": WRITING,
    "Facebook": WRITING, "Tasty": GENERAL, "tripadvisor.com": GENERAL, "Netflix": GENERAL,
    "Spotify": GENERAL, "Messenger": GENERAL, "Meetup": GENERAL, "Workout": HEALTH, "Wysa": HEALTH,
}  # fmt: skip
ARENA_V2 = {"coding": CODING, "math": MATH, "creative_writing": WRITING}
_OPTIONS = re.compile(r"\n\(?A[.)]\s.*|\nOptions:\n.*", re.DOTALL)


def read_examples(data: Path) -> Iterator[Example]:
    """Every usable prompt of the data folder, in the order of the files."""
    for row in _rows(data / "mmlu_pro/outcomes.jsonl.gz"):
        if category := MMLU_PRO.get(row["category"]):
            yield Example(without_options(row["prompt"]), category, "MMLU-Pro", "MIT")
    for row in _rows(data / "routellm/outcomes.jsonl.gz"):
        if category := MMLU.get(row["category"]):
            yield Example(without_options(row["prompt"]), category, "MMLU", "MIT")
    for row in _rows(data / "zeroeval/outcomes.jsonl.gz"):
        yield _zeroeval(row)
    for row in _rows(data / "llmrouter/outcomes.jsonl.gz"):
        if row["category"] in LLMROUTER:
            category, licence = LLMROUTER[row["category"]]
            yield Example(row["prompt"], category, row["category"], licence)
    for row in _rows(data / "bbh_prompts/outcomes.jsonl.gz"):
        if category := BBH.get(row["category"]):
            yield Example(without_options(row["prompt"]), category, "BIG-Bench Hard", "MIT")
    for row in _rows(data / "categories/biggen.jsonl.gz"):
        if category := BIGGEN.get(row["subcategory"]):
            yield Example(row["prompt"], category, "BiGGen-Bench", "Apache-2.0")
    for row in _rows(data / "categories/self_instruct_user.jsonl.gz"):
        if category := SELF_INSTRUCT.get(row["category"]):
            yield Example(row["prompt"], category, "self-instruct", "Apache-2.0")
    for row in _rows(data / "categories/arena_hard.jsonl.gz"):
        if category := ARENA_V2.get(row["category"]):
            yield Example(row["prompt"], category, "Arena-Hard v2.0", "Apache-2.0")


def without_options(prompt: str) -> str:
    """The question without its lettered answers: what a person would type."""
    return _OPTIONS.sub("", prompt).strip()


def read_clinc(data: Path) -> tuple[list[str], list[str], list[str]]:
    """CLINC150 (CC BY 3.0), for tests only: in-scope requests, their domains, out-of-scope requests."""
    rows = list(_rows(data / "categories/clinc150.jsonl.gz"))
    inside = [row for row in rows if row["category"] != "out_of_scope"]
    outside = [row["prompt"] for row in rows if row["category"] == "out_of_scope"]
    return [row["prompt"] for row in inside], [row["category"] for row in inside], outside


def read_chat(data: Path) -> list[tuple[str, str]]:
    """MT-Bench and Vicuna questions (Apache-2.0) with their own labels, for tests only."""
    return [(row["prompt"], row["category"]) for row in _rows(data / "categories/mt_bench_vicuna.jsonl.gz")]


def _zeroeval(row: dict[str, str]) -> Example:
    if row["benchmark"] == "crux":
        code = row["prompt"].split("[PYTHON]")[-1].split("[/PYTHON]")[0].strip()
        return Example(f"What does this Python code output?\n{code}", CODING, "CRUXEval", "MIT")
    return Example(row["prompt"], MATH, "GSM8K" if row["benchmark"] == "gsm" else "MATH", "MIT")


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
