"""Wait for something, and do something else first if it is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


@coroutine
def unless_ready(step: Coroutine[Any, Any, T], otherwise: Callable[[], None]) -> Generator[Any, Any, T]:
    """The result of `step`. If it is not there at once, `otherwise` is called before it is waited for."""
    try:
        waits_for = step.send(None)
        told = False
        while True:
            try:
                if not told:
                    told = True
                    otherwise()
                value = yield waits_for
            # Whatever is raised here, a cancellation above all, belongs to the step: it has begun.
            except BaseException as error:  # noqa: BLE001
                waits_for = step.throw(error)
            else:
                waits_for = step.send(value)
    except StopIteration as done:
        return done.value
