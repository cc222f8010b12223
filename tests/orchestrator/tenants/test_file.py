"""The file of keys."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.tenants import Key, change_keys, read_keys

KEY = Key("0123456789ab", "acme", "00" * 32, created_at=1, name="first")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.json"
    change_keys(path, lambda keys: (*keys, KEY))
    assert read_keys(path) == (KEY,)
    assert json.loads(path.read_text())["schema"] == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


def test_a_change_that_fails_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    change_keys(path, lambda keys: [KEY])

    def fail(keys: tuple[Key, ...]) -> list[Key]:
        raise LookupError

    with pytest.raises(LookupError):
        change_keys(path, fail)
    assert read_keys(path) == (KEY,)
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "real" / "keys.json", tmp_path / "keys.json"
    change_keys(path, lambda keys: ())
    link.symlink_to(path)
    change_keys(link, lambda keys: [KEY])
    assert link.is_symlink()
    assert read_keys(path) == (KEY,)


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"

    def add(number: int) -> None:
        change_keys(path, lambda keys: (*keys, Key(f"{number:012}", "acme", "", created_at=number)))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.created_at for key in read_keys(path)) == list(range(12))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.json does not exist\. .*coe keys create"):
        read_keys(tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema": 2, "keys": [{"kid": 1}]}', "has schema 2; expected 1"),
        ('{"schema": 1}', "missing required field `keys`"),
        ('{"schema": 1, "keys": [{"id": 3}]}', r"Expected `str`, got `int` - at `\$\.keys\[0\]\.id`"),
        ("{", "is no file of API keys"),
        ("", "is no file of API keys"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_keys(path)


def test_an_id_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    change_keys(path, lambda keys: [KEY, KEY])
    with pytest.raises(ConfigError, match="two keys of the same id"):
        read_keys(path)


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_keys(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        change_keys(tmp_path / "file" / "keys.json", lambda keys: [KEY])
