"""A machine as this one's CPU was found by a short measurement, with what vLLM adds to each step there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from coe.errors import DataError
from coe_vllm.capacity._roofline import Machine

_MEASURE = Path(__file__).with_name("_measure.py")
_TIMEOUT_S = 300.0

# vLLM 0.32.0 served models of next to no size, with 2 and with 30 layers, eagerly and on one thread: what a
# step took then is the engine's, most of it Python and torch's dispatch. Here it is in small operations of
# torch, whose time is measured beside it, so that it holds for slower and faster machines.
_STEP_OPERATIONS = 800
_LAYER_OPERATIONS = 146
_REQUEST_OPERATIONS = 40
_REQUEST_LAYER_OPERATIONS = 8


class Measured(msgspec.Struct, frozen=True):
    """What the measurement found, with bfloat16.

    Attributes:
        bandwidth_gb_s: of reading weights in the products of one token.
        tflops: of the products of a prompt.
        operation_us: microseconds of one small operation of torch.
    """

    bandwidth_gb_s: float
    tflops: float
    operation_us: float

    def machine(self, memory_gb: float) -> Machine:
        """The machine for a plan; its figures are reached, so nothing is taken off them."""
        return Machine(
            memory_gb=memory_gb,
            bandwidth_gb_s=self.bandwidth_gb_s,
            tflops=self.tflops,
            efficiency=1.0,
            step_ms=_STEP_OPERATIONS * self.operation_us / 1e3,
            layer_us=_LAYER_OPERATIONS * self.operation_us,
            request_us=_REQUEST_OPERATIONS * self.operation_us,
            request_layer_us=_REQUEST_LAYER_OPERATIONS * self.operation_us,
        )


def measure(python: Path, hidden_size: int, threads: int = 1) -> Measured:
    """Measure this machine's CPU for a few seconds.

    Args:
        python: that has torch; vLLM's own.
        hidden_size: of the model that matters most: small matrices reach less bandwidth.
        threads: of the servers; the preset `cpu` gives one to each.

    Raises:
        DataError: it cannot be measured with that Python.
    """
    try:
        done = subprocess.run(  # noqa: S603  (the operator's own command)
            [str(python), "-I", str(_MEASURE), str(hidden_size), str(threads)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        return msgspec.json.decode(done.stdout, type=Measured)
    except subprocess.CalledProcessError as error:
        last = (str(error.stderr).strip().splitlines() or ["it said nothing"])[-1]
        why = f"{last} (status {error.returncode})"
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
        why = str(error)
    raise DataError(
        f"{python} cannot measure this machine: {why}.",
        hint="Name a Python that has torch: --probe .venv-vllm/bin/python.",
    )
