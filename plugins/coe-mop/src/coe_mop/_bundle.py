"""The bundle: regions, their prompts and the prompts they were compared with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from coe.errors import ArtifactError
from coe_mop._folder import read_folder, write_folder
from coe_mop._prompts import TEMPLATE_HASH, Prompt
from coe_mop._regions import Routed, route
from coe_mop._space import ALGORITHM, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder

_PROMPTS = "prompts.json"
_TENSORS = "model.safetensors"
MIXTURE = "mop"
SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Region:
    """One region, for people.

    Attributes:
        size: examples that lie in it.
        terms: telling words and signs.
        samples: a few inputs nearest to its centroid.
        score: mean validation score of its prompt; None without a search.
        interval: 95 % (Wilson) around it.
        checked: validation items behind the score.
    """

    size: int
    terms: tuple[str, ...]
    samples: tuple[str, ...]
    score: float | None = None
    interval: tuple[float, float] | None = None
    checked: int = 0


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that serving needs, and what the report tells.

    Attributes:
        embedder_kind, embedder_settings, fingerprint: whose vectors the space was made with.
        space, centroids: the regions; centroids are float32[k, dim].
        prompts: of each region.
        single: the best prompt for all regions: for inputs whose margin is below `min_margin`.
        baselines: other prompts that were compared, by name.
        min_margin: 0..1.
        regions: facts about each region.
        about: facts about the build (base, seed, calls, metrics …), JSON.
        revision: hash of the manifest; empty before it is written.
    """

    embedder_kind: str
    embedder_settings: Mapping[str, Any]
    fingerprint: str
    space: Space
    centroids: NDArray[np.float32]
    prompts: tuple[Prompt, ...]
    single: Prompt
    baselines: Mapping[str, Prompt]
    min_margin: float
    regions: tuple[Region, ...]
    about: Mapping[str, Any]
    revision: str = ""

    def route(self, texts: Sequence[str], embedder: Embedder) -> Routed:
        """Nearest region, distance and margin of each input."""
        return route(self.space.place(texts, embedder), self.centroids)

    def prompt_for(self, region: int, margin: float) -> Prompt:
        """What an input there is asked with."""
        return self.single if margin < self.min_margin else self.prompts[region]

    def write(self, path: Path, reports: Mapping[str, str]) -> str:
        """Write it with its reports (file name to text). Returns the revision. Raises `ArtifactError`."""
        from safetensors.numpy import save

        tensors = {name: np.ascontiguousarray(getattr(self.space, name)) for name in Space.__slots__}
        prompts = {
            "regions": [
                {**_prompt_json(prompt), **_region_json(region)}
                for prompt, region in zip(self.prompts, self.regions, strict=True)
            ],
            SINGLE: _prompt_json(self.single),
            "baselines": {name: _prompt_json(prompt) for name, prompt in self.baselines.items()},
        }
        about = {
            "embedder": {"kind": self.embedder_kind, "settings": dict(self.embedder_settings)},
            "fingerprint": self.fingerprint,
            "template": TEMPLATE_HASH,
            "space": ALGORITHM,
            "min_margin": self.min_margin,
            "build": dict(self.about),
        }
        files = {
            _PROMPTS: json.dumps(prompts, indent=1, ensure_ascii=False).encode(),
            _TENSORS: save({**tensors, "centroids": np.ascontiguousarray(self.centroids)}),
            **{name: text.encode() for name, text in reports.items()},
        }
        return write_folder(path, about, files)


def read_bundle(
    path: Path, embedder: Callable[[str, Mapping[str, Any]], Embedder]
) -> tuple[Bundle, Embedder]:
    """Read a bundle and make its embedder.

    Args:
        path: its folder.
        embedder: makes one by kind and settings (`coe.contracts.Build.embedder`).

    Raises:
        ArtifactError: no intact bundle, made with another prompt template or space, or the embedder now gives
            other vectors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    about, files, revision = read_folder(path)
    try:
        kind, settings = about["embedder"]["kind"], about["embedder"]["settings"]
        made_with = (about["template"], about["space"])
        prompts = cast("dict[str, Any]", json.loads(files[_PROMPTS]))
        tensors = load(files[_TENSORS])
        bundle = Bundle(
            embedder_kind=kind,
            embedder_settings=settings,
            fingerprint=about["fingerprint"],
            space=Space(**{name: tensors[name] for name in Space.__slots__}),
            centroids=tensors["centroids"],
            prompts=tuple(_prompt(each) for each in prompts["regions"]),
            single=_prompt(prompts[SINGLE]),
            baselines={name: _prompt(each) for name, each in prompts["baselines"].items()},
            min_margin=float(about["min_margin"]),
            regions=tuple(_region(each) for each in prompts["regions"]),
            about=about["build"],
            revision=revision,
        )
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ArtifactError(f"{path} does not hold a whole bundle: {error!r}.") from error
    if made_with != (TEMPLATE_HASH, ALGORITHM):
        raise ArtifactError(
            f"{path} was made with another prompt template or feature space.", hint="Build it again."
        )
    if not len(bundle.prompts) == len(bundle.centroids) > 0:
        raise ArtifactError(
            f"{path} has {len(bundle.prompts)} prompts and {len(bundle.centroids)} centroids."
        )
    made = embedder(kind, settings)
    if made.fingerprint != bundle.fingerprint:
        raise ArtifactError(
            f"{path} was made with other vectors of the embedder `{kind}`: fingerprint "
            f"{bundle.fingerprint[:12]}…, installed is {made.fingerprint[:12]}….",
            hint="Build it again, or install the embedder that made it.",
        )
    return bundle, made


def _prompt_json(prompt: Prompt) -> dict[str, Any]:
    return {"instruction": prompt.instruction, "demos": [list(shown) for shown in prompt.demos]}


def _prompt(given: Mapping[str, Any]) -> Prompt:
    return Prompt(str(given["instruction"]), tuple((str(asked), str(said)) for asked, said in given["demos"]))


def _region_json(region: Region) -> dict[str, Any]:
    return {name: getattr(region, name) for name in Region.__slots__}


def _region(given: Mapping[str, Any]) -> Region:
    interval = given["interval"]
    return Region(
        size=int(given["size"]),
        terms=tuple(given["terms"]),
        samples=tuple(given["samples"]),
        score=given["score"],
        interval=None if interval is None else (interval[0], interval[1]),
        checked=int(given["checked"]),
    )
