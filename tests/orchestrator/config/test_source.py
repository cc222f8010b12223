"""Where a server reads its configuration, again and again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from coe.config import ConfigSource, Overrides, embedded_default
from coe.errors import ConfigError

TEXT = "server: {port: 1, max_attempts: 2}\nexperts: {a: {kind: echo}}\nrouters: {auto: {kind: first}}\n"


def test_a_file_is_read_anew_and_the_command_line_stays_above_it(tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    path.write_text(TEXT)
    source = ConfigSource(path, Overrides(port=7, redis="redis://:secret@h/0"))
    config = source.parse(source.read())
    assert (config.server.port, config.server.max_attempts) == (7, 2)
    assert config.cache.shared is not None
    assert config.cache.shared.settings == {"url": "redis://:secret@h/0"}
    assert config.base_dir == tmp_path
    assert "secret" not in repr(source)
    path.write_text(TEXT.replace("max_attempts: 2", "max_attempts: 3"))
    assert source.parse(source.read()).server.max_attempts == 3


def test_a_file_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        ConfigSource(tmp_path / "gone.yaml").read()


def test_a_file_that_can_no_longer_be_looked_at_is_an_error_that_names_it(tmp_path: Path) -> None:
    # Too long a name is refused even where root may do anything.
    source = ConfigSource(tmp_path / ("x" * 300))
    assert source.lasts
    with pytest.raises(ConfigError, match="cannot be read"):
        source.read_again()


def test_without_a_file_it_is_the_embedded_default() -> None:
    source = ConfigSource()
    assert source.parse(source.read()) == embedded_default()


def test_a_pipe_is_read_once_and_starts_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    try:
        os.write(write, TEXT.encode())
        os.close(write)
        source = ConfigSource(Path(f"/dev/fd/{read}"))
        assert source.parse(source.read()).base_dir == tmp_path
        assert not source.lasts
        with pytest.raises(ConfigError, match=r"is a pipe: .* cannot be read again"):
            source.read_again()
    finally:
        os.close(read)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/dev/stdin", None),
        ("/dev/fd/63", None),
        ("/proc/self/fd/0", None),
        ("/dev/shm/coe.yaml", "/dev/shm"),
        ("/dev/shm/team/coe.yaml", "/dev/shm/team"),
        ("/etc/coe.yaml", "/etc"),
        ("coe.yaml", None),
    ],
)
def test_only_what_has_no_folder_starts_in_the_working_directory(path: str, folder: str | None) -> None:
    expected = Path.cwd() if folder is None else Path(folder)
    assert ConfigSource(Path(path)).parse(TEXT, {}).base_dir == expected


def test_a_named_pipe_is_not_waited_for_again(tmp_path: Path) -> None:
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(TEXT,), daemon=True)
    writer.start()
    source = ConfigSource(path)
    assert source.parse(source.read()).base_dir == tmp_path
    writer.join()
    with pytest.raises(ConfigError, match="is a pipe"):  # opening it would wait for a writer, for ever
        source.read_again()
