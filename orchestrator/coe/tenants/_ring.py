"""The keys of a running gateway."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from coe.errors import ConfigError, InvalidKey
from coe.tenants._file import read_keys
from coe.tenants._keys import Key, digest, key_id_of, matches

_log = logging.getLogger("coe.tenants")

_LOOK_S = 1.0
"""How often the file is looked at: a key that is revoked opens for so long at most."""
_HINT = "Send `Authorization: Bearer coe-…`."
_NOBODY = digest("")

_Stamp = tuple[int, int, int]


class KeyRing:
    """Knows whose a key is. Follows its file, and keeps the last good keys when the file breaks.

    Args:
        path: file of keys.
        clock: monotonic seconds.
        wall: seconds since 1970.

    Raises:
        ConfigError: the file cannot be read.
    """

    def __init__(self, path: Path, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._wall = wall
        self._stamp = _stamp(path)
        self._keys = _by_id(read_keys(path))
        self._look_at = clock() + _LOOK_S
        self.reload_failures = 0

    def tenant_of(self, text: str | None) -> str:
        """Whose the key is.

        Raises:
            InvalidKey: there is none, or it is not known, expired or revoked. The message does not repeat it.
        """
        if self._clock() >= self._look_at:
            self._look()
        if not text:
            raise InvalidKey("An API key is required.", hint=_HINT)
        key = self._keys.get(key_id_of(text))
        # Also when nobody has this id: how long it takes says nothing about which ids there are.
        if not matches(text, key.hash if key else _NOBODY) or key is None:
            raise InvalidKey("The API key is not known.", hint=_HINT)
        if why := key.why_not(self._wall()):
            raise InvalidKey(f"The API key {key.id} is {why}.", hint="Ask for a new one.")
        return key.tenant

    def _look(self) -> None:
        self._look_at = self._clock() + _LOOK_S
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = _by_id(read_keys(self._path))
        except ConfigError as error:
            self.reload_failures += 1
            _log.error("keys_not_reloaded why=%s", error.message)
        else:
            _log.info("keys_reloaded count=%d", len(self._keys))


def _by_id(keys: tuple[Key, ...]) -> dict[str, Key]:
    return {key.id: key for key in keys}


def _stamp(path: Path) -> _Stamp | None:
    """What changes when the file does; None when it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
