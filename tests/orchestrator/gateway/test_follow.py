"""When a file counts as changed."""

from __future__ import annotations

from pathlib import Path

from coe.gateway._follow import FileChanges


def test_a_change_is_told_once_and_only_when_the_file_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    path.write_text("a")
    changed = FileChanges(path)
    assert not changed()
    path.write_text("ab")
    assert not changed()  # it may still be written
    path.write_text("abc")
    assert not changed()
    assert changed()
    assert not changed()


def test_a_file_that_is_replaced_is_another_and_one_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    path, other = tmp_path / "coe.yaml", tmp_path / "new.yaml"
    path.write_text("a")
    changed = FileChanges(path)
    path.unlink()
    assert [changed(), changed()] == [False, False]
    other.write_text("b")
    other.replace(path)
    assert [changed(), changed(), changed()] == [False, True, False]
