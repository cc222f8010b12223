"""What keeps a start short."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager

_THREADS = "OPENBLAS_NUM_THREADS"


@contextmanager
def starting() -> Generator[None]:
    """Meanwhile modules are imported and artifacts read: `single_threaded_blas`, and no garbage is collected.

    Nearly all that comes into being stays, and looking through it again and again takes
    an eighth of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with single_threaded_blas():
            yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def single_threaded_blas() -> Generator[None]:
    """Meanwhile, a first import of numpy gives its BLAS one thread, unless the environment says otherwise.

    By default it starts one a core, and they spin for a while whenever they have worked: a decision is far
    too small for them, and the cores have other requests or workers. What is started later does not see it.
    """
    if _THREADS in os.environ:
        yield
        return
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_THREADS]
