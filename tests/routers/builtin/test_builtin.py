"""The classifier that ships: everyday prompts must come out sensibly, whatever else changes."""

import subprocess
import sys

import pytest

from coe.contracts import Features
from coe.testing import create, load, pool_view
from coe_routers.artifact import read_facts
from coe_routers.features._static import BUILTIN as EMBEDDER
from coe_routers.routing import BUILTIN, TwoStepRouter

VIEW = pool_view("a", "b")


@pytest.fixture(scope="module")
def router() -> TwoStepRouter:
    return create(load("coe.routers", "two-step"))


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Write a python function to reverse a string", "coding"),
        ("why does my for loop never stop? i use javascript", "coding"),
        ("What is 17*23?", "math"),
        ("Solve x^2 = 49", "math"),
        ("Write a poem about the sea", "writing"),
        ("Write an email to my landlord about the broken heating", "writing"),
        ("Translate to French: I lost my passport.", "language"),
        ("Correct the grammar: he go to school yesterday", "language"),
        ("Why is the sky blue?", "science"),
        ("What are the symptoms of the flu?", "health"),
        ("Can my landlord evict me without notice?", "law"),
        ("How do I write a business plan for a bakery?", "business"),
        ("What were the causes of the First World War?", "humanities"),
        ("Tom is taller than Ann. Ann is taller than Bob. Who is the shortest?", "reasoning"),
        ("hello", "general"),
        ("thanks, bye!", "general"),
        ("Set an alarm for seven", "general"),
        ("What should I cook tonight?", "general"),
        ("привет", "general"),
        ("", "general"),
        ("🎉🎉🎉", "general"),
    ],
)
def test_everyday_prompts(router: TwoStepRouter, text: str, category: str) -> None:
    decision = router.route(Features(text=text), VIEW)
    assert decision.category == category, decision.probabilities


def test_the_artifact_names_its_sources_and_their_licences() -> None:
    facts = read_facts(BUILTIN).facts
    licences = {licence for _, licence, _ in facts["sources"]}
    assert licences <= {"Apache-2.0", "MIT", "CC BY 4.0"}
    assert sum(rows for *_, rows in facts["sources"]) == facts["rows"]


def test_what_ships_is_small() -> None:
    files = [*BUILTIN.iterdir(), *EMBEDDER.iterdir()]
    assert sum(file.stat().st_size for file in files) < 10_000_000


def test_routing_imports_nothing_heavy() -> None:
    code = """
import sys
from coe.contracts import Features
from coe.testing import create, load, pool_view
create(load("coe.routers", "two-step")).route(Features(text="hello"), pool_view("a"))
heavy = {"torch", "sklearn", "scipy", "faiss", "sentence_transformers", "tokenizers"}
print(*sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
