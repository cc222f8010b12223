"""Names of the commands that plugins offer, read from the files that importlib.metadata reads.

importlib.metadata itself takes 40 ms to import (it brings in email and zipfile), a third of `coe --help`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

_FOLDERS = (".dist-info", ".egg-info")


def offered_commands(search_path: Iterable[str]) -> dict[str, str]:
    """Commands of the entry-point group coe.commands.

    Args:
        search_path: folders to look through, as `sys.path` lists them.

    Returns:
        The distribution of each command, by name; the first folder wins.
    """
    offers: dict[str, str] = {}
    for folder in search_path:
        for entry in _metadata_folders(folder or "."):
            distribution = entry.name.split("-")[0].removesuffix(".egg")
            for name in _commands(os.path.join(entry.path, "entry_points.txt")):
                offers.setdefault(name, distribution.replace("_", "-"))
    return offers


def _metadata_folders(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.name.endswith(_FOLDERS))
    except OSError:  # sys.path may name archives and folders that do not exist
        return


def _commands(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8") as file:
            section = ""
            for line in map(str.strip, file):
                if line.startswith("["):
                    section = line
                elif section == "[coe.commands]" and "=" in line and not line.startswith(("#", ";")):
                    yield line.split("=", 1)[0].strip()
    except (OSError, UnicodeDecodeError):
        return
