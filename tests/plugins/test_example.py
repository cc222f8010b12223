"""The worked example, installed and configured as its README says."""

import re
from pathlib import Path

import pytest

from coe.client import Client
from coe.contracts import Reason
from coe.errors import ExpertRejected

EXAMPLE = Path(__file__).parents[2] / "examples" / "coe-calculator"


def test_its_configuration_routes_and_answers() -> None:
    with Client.open(EXAMPLE / "coe.yaml") as client:
        answer = client.chat("What is 12 * (3 + 4)?")
        assert answer.text == "12 * (3 + 4) = 84"
        assert (answer.routing.expert, answer.routing.category) == ("sums", "arithmetic")
        streamed = client.chat("(2 + 3) × 4", stream=True)
        assert "".join(streamed) == "(2 + 3) * 4 = 20"
        answer = client.chat("Good morning")
        assert (answer.text, answer.routing.expert) == ("Good morning", "parrot")
        assert answer.routing.reason is Reason.UNCERTAIN


def test_its_refusal_is_the_callers_to_read() -> None:
    with (
        Client.open(EXAMPLE / "coe.yaml") as client,
        pytest.raises(ExpertRejected, match="only does arithmetic, and nothing can be divided by zero"),
    ):
        client.chat("1 / 0", model="sums")


def test_a_request_beyond_its_capabilities_is_never_sent_to_it() -> None:
    tool = {"type": "function", "function": {"name": "add", "description": "Adds."}}
    with Client.open(EXAMPLE / "coe.yaml") as client:
        assert client.chat("2 + 2", tools=[tool]).routing.expert == "parrot"


@pytest.mark.parametrize("file", [EXAMPLE / "README.md", EXAMPLE.parents[1] / "docs" / "plugins.md"])
def test_files_that_it_names_exist(file: Path) -> None:
    text = file.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    named = [name for name in re.findall(r"^\| `([\w./]+)` \|", text, re.MULTILINE) if "/" in name]
    assert links
    missing = [name for name in [*links, *named] if not (file.parent / name).exists()]
    assert not missing
