"""Files that commands write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from coe.errors import UserError


def write_new(files: Mapping[Path, str], *, force: bool = False) -> None:
    """Write all files, or none when one of them exists.

    Args:
        files: text by path; folders are made.
        force: overwrite.

    Raises:
        UserError: a file exists, or cannot be written.
    """
    if not force and (there := [str(path) for path in files if path.exists()]):
        raise UserError(f"Already there: {', '.join(there)}.", hint="Overwrite with --force.")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from error
