"""What a build finds, writes and refuses."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from mop_pupil import Pupil, examples, made_with

from coe.contracts import Embedder
from coe.errors import ArtifactError, DataError
from coe.testing import build as host
from coe_mop._build import BuildSettings, build
from coe_mop._bundle import read_bundle
from coe_mop._report import markdown, page


def test_regions_carry_the_demonstrations_that_the_base_needs(embedder: Embedder) -> None:
    made, _ = made_with(Pupil(), BuildSettings(budget=300, demos=2), embedder)
    assert made.policies is not None
    scores = {row["policy"]: row["score"] for row in made.policies.rows()}
    assert scores["mop"] == 1
    assert scores["no demos"] == 0
    assert 0 < scores["one instruction (APE)"] < 1, "one instruction knows one of the two tasks"
    assert made.policies.win_rates()["no demos"] == 1
    for prompt, region in zip(made.bundle.prompts, made.bundle.regions, strict=True):
        kinds = {"+" in asked for asked, _ in prompt.demos}
        assert len(kinds) == 1
        assert region.size > 0
        assert prompt.instruction == "", "where demonstrations do, the empty instruction is the shortest"


def test_without_instructions_no_base_is_needed(embedder: Embedder) -> None:
    made = asyncio.run(build(examples(), embedder, BuildSettings(demos=3)))
    assert (made.plan, made.policies, made.bundle.about["calls"]) == (None, None, 0)
    assert {len(prompt.demos) for prompt in made.bundle.prompts} == {3}


def test_the_same_seed_gives_the_same_bundle(embedder: Embedder, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        asyncio.run(build(examples(), embedder, BuildSettings(seed=seed))).bundle.write(tmp_path / name, {})
    a, b, c = ((tmp_path / name / "manifest.json").read_bytes() for name in "abc")
    assert a == b != c


def test_identities_are_proposed(embedder: Embedder) -> None:
    base = Pupil()
    made_with(base, BuildSettings(budget=300, identities=True), embedder)
    said = [messages[-1]["content"] for messages in base.asked]
    assert any(text.startswith("Below are questions") for text in said)
    assert any(
        each["content"].startswith("You are a") for m in base.asked for each in m if each["role"] == "system"
    )


def test_proposals_come_from_other_regions(embedder: Embedder) -> None:
    base = Pupil()
    made, _ = made_with(base, BuildSettings(budget=200, regions=2), embedder)
    sums = [prompt.demos[0][0] for prompt in made.bundle.prompts].index(
        next(p.demos[0][0] for p in made.bundle.prompts if "+" in p.demos[0][0])
    )
    assert made.plan is not None
    proposals = [m[-1]["content"] for m in base.asked if m[-1]["content"].startswith("Somebody")]
    for number, text in enumerate(proposals[: made.plan.proposals]):
        assert ("+" in text) == (number % 2 != sums), (
            "the region of sums is shown words, and the other way round"
        )


@pytest.mark.parametrize("partition", ["random", "none"])
def test_ablations_run(partition, embedder: Embedder) -> None:
    made, _ = made_with(
        Pupil(), BuildSettings(budget=300, partition=partition, search="independent"), embedder
    )
    assert len(made.bundle.prompts) == (1 if partition == "none" else len(made.bundle.regions))


def test_out_of_distribution_holds_back_one_half(embedder: Embedder) -> None:
    made, _ = made_with(Pupil(), BuildSettings(budget=600, ood=True), embedder)
    assert made.policies is not None
    assert len(set(made.policies.tasks)) == 1, "the two tasks are the two halves"


def test_too_little_is_refused(embedder: Embedder) -> None:
    with pytest.raises(DataError, match="9 examples are too few"):
        asyncio.run(build(examples(9), embedder, BuildSettings()))
    with pytest.raises(DataError, match="too small to search"):
        made_with(Pupil(), BuildSettings(budget=9), embedder)


def test_a_bundle_comes_back_whole(embedder: Embedder, bundle_dir: Path) -> None:
    bundle, made = read_bundle(bundle_dir, host().embedder)
    assert made.fingerprint == embedder.fingerprint
    texts = [each.input for each in examples(20, seed=5)]
    again = asyncio.run(build(examples(), embedder, BuildSettings())).bundle
    read, fresh = bundle.route(texts, made), again.route(texts, embedder)
    np.testing.assert_array_equal(read.region, fresh.region)
    np.testing.assert_array_equal(read.distance, fresh.distance)
    assert bundle.prompts == again.prompts


def test_a_changed_bundle_is_refused(bundle_dir: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        target = tmp_path / name
        target.mkdir()
        for file in bundle_dir.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        return target

    def change(path: Path, **fields: object) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["about"].update(fields)
        (path / "manifest.json").write_text(json.dumps(manifest))

    tampered = copy("tampered")
    (tampered / "prompts.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"prompts\.json was changed"):
        read_bundle(tampered, host().embedder)
    other = copy("other")
    change(other, fingerprint="0" * 64)
    with pytest.raises(ArtifactError, match="made with other vectors of the embedder `static`"):
        read_bundle(other, host().embedder)
    template = copy("template")
    change(template, template="0")
    with pytest.raises(ArtifactError, match="another prompt template"):
        read_bundle(template, host().embedder)
    with pytest.raises(ArtifactError, match="is no bundle"):
        read_bundle(tmp_path / "nowhere", host().embedder)


def test_only_a_bundle_is_replaced(embedder: Embedder, tmp_path: Path) -> None:
    made = asyncio.run(build(examples(), embedder, BuildSettings()))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("precious")
    with pytest.raises(ArtifactError, match="exists and is no bundle"):
        made.bundle.write(tmp_path / "mine", {})
    assert (tmp_path / "mine/thesis.txt").read_text() == "precious"
    made.bundle.write(tmp_path / "out", {})
    made.bundle.write(tmp_path / "out", {"report.md": "second"})
    assert (tmp_path / "out/report.md").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_report_tells_regions_and_policies(embedder: Embedder) -> None:
    made, _ = made_with(Pupil(), BuildSettings(budget=300), embedder)
    text, html = markdown(made), page(made)
    assert "one instruction (APE)" in text
    assert "## Number of regions" in text
    assert html.count("<circle") >= len(made.bundle.prompts) + 40
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
