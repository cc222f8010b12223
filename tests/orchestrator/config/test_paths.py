"""Where coe keeps fetched files."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from coe.config import cache_dir


def test_the_platforms_folder_is_the_default() -> None:
    assert cache_dir({}) == Path(platformdirs.user_cache_dir("coe", appauthor=False))
    assert cache_dir({"COE_CACHE_DIR": ""}) == cache_dir({})


def test_the_variable_moves_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert cache_dir() == tmp_path
    assert cache_dir({"COE_CACHE_DIR": "~/models"}) == tmp_path / "home" / "models"
