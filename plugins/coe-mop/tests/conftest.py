"""An embedder, and a bundle without instructions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from mop_pupil import examples

from coe.contracts import Embedder
from coe.testing import create, load
from coe_mop._build import BuildSettings, build


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return create(load("coe.embedders", "static"))


@pytest.fixture(scope="session")
def bundle_dir(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle without instructions."""
    path = tmp_path_factory.mktemp("bundles") / "plain"
    asyncio.run(build(examples(), embedder, BuildSettings())).bundle.write(path, {})
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
