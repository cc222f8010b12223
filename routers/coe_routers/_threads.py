"""Fits on one thread: what they multiply is so small that more threads mostly wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from coe_routers._extras import library

P = ParamSpec("P")
R = TypeVar("R")


def one_thread(fit: Callable[P, R]) -> Callable[P, R]:
    """A function during which BLAS and OpenMP use one thread.

    A thread that waits spins. On a machine with other work a fit of a few seconds burns minutes that way,
    and is no faster on an idle one. Raises `PluginError` when the extra `train` is not installed.
    """

    @wraps(fit)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        # Only libraries that are loaded can be limited; this one loads those that the fits use.
        library("sklearn.svm", "train")
        pools: Any = library("threadpoolctl", "train")
        with pools.threadpool_limits(limits=1):
            return fit(*args, **kwargs)

    return limited
