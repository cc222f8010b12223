from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from coe.errors import DataError, PluginError
from coe_routers.commands._plot import check_suffix, front, policies, write_plot

POINTS = [(1.0, 0.5), (2.0, 0.6), (4.0, 0.65)]


def test_svg(tmp_path: Path) -> None:
    path = tmp_path / "front.svg"
    write_plot(path, front("usd_per_1k", POINTS))
    root = ElementTree.parse(path).getroot()
    tags = [each.tag.rpartition("}")[2] for each in root]
    assert tags.count("circle") == 3
    assert "usd_per_1k" in [each.text for each in root]


def test_names_stay_inside_and_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "policies.svg"
    write_plot(
        path, policies("usd", [("a & b", 1.0, 0.5), ("far right", 9.0, 0.6), ("unknown", float("nan"), 1)])
    )
    texts = {each.text: each.get("text-anchor") for each in ElementTree.parse(path).getroot()}
    assert texts["a & b"] == "start"
    assert texts["far right"] == "end"
    assert "unknown" not in texts


def test_png(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra `plot` is not installed")
    path = tmp_path / "front.PNG"
    write_plot(path, front("usd_per_1k", POINTS))
    with image.open(path) as found:
        assert found.format == "PNG"
        assert found.size == (1280, 800)
        colours = {colour for _, colour in found.getcolors(maxcolors=1 << 20)}
    assert {(31, 111, 235), (255, 255, 255)} <= colours


def test_an_empty_plot(tmp_path: Path) -> None:
    write_plot(tmp_path / "empty.svg", front("", []))
    assert "spend" in (tmp_path / "empty.svg").read_text()


def test_other_files_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.svg or \.png"):
        check_suffix(tmp_path / "front.pdf")
    with pytest.raises(DataError, match=r"there is no folder .*missing"):
        check_suffix(tmp_path / "missing" / "front.svg")
    check_suffix(None)


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "PIL.ImageDraw", raising=False)
    with pytest.raises(PluginError) as error:
        check_suffix(tmp_path / "front.png")
    assert error.value.hint is not None
    assert "coe-router[plot]" in error.value.hint
