"""The bound on disk: oldest segments go first."""

from __future__ import annotations

from pathlib import Path

from coe.journal._segments import LIVE, Segment, claimed, files, is_live


def prune(folder: Path, max_bytes: int, segment_bytes: int) -> None:
    """Remove oldest closed segments until the folder keeps its bound.

    Segments that are being written are never removed and count as full, so the bound holds while they grow.

    Args:
        folder: the journal.
        max_bytes: what all segments together may take, those still to be written included.
        segment_bytes: what one segment may grow to.

    Raises:
        OSError: a segment cannot be removed.
    """
    sizes = {each: _size(each) for each in files(folder)}
    live = {each for each in sizes if each.suffix == LIVE and is_live(each)}
    total = sum(max(size, segment_bytes) if each in live else size for each, size in sizes.items())
    for each, size in sizes.items():
        if total <= max_bytes:
            return
        if each not in live and _remove(each):
            total -= size


def _remove(segment: Segment) -> bool:
    if segment.suffix != LIVE:
        segment.path.unlink(missing_ok=True)
        return True
    # Claimed, so that nobody is reading it to convert it.
    with claimed(segment) as descriptor:
        if descriptor is None:
            return False
        segment.path.unlink(missing_ok=True)
        return True


def _size(segment: Segment) -> int:
    try:
        return segment.path.stat().st_size
    except FileNotFoundError:
        return 0
