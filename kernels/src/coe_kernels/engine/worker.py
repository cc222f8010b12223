"""A worker extension of vLLM: `--worker-extension-cls coe_kernels.engine.worker.KernelsWorker`."""

from __future__ import annotations

from typing import Any

from coe_kernels.telemetry import HERE


class KernelsWorker:
    """What `collective_rpc` can ask of a worker."""

    def coe_kernels_status(self) -> dict[str, Any]:
        """The worker's counters: see `coe_kernels.telemetry`."""
        return HERE.as_json()

    def coe_kernels_negate(self, on: bool) -> None:
        """Changes the sign of every output. For `coe kernels verify`, which must see that it matters."""
        HERE.negated = on
