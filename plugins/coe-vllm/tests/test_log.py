"""What is read from a server's log."""

from __future__ import annotations

import pytest

from coe_vllm.server._log import phase, reason

SLEEP = """\
  File "site-packages/pydantic/_internal/_dataclasses.py", line 121, in __init__
    s.__pydantic_validator__.validate_python(ArgsKwargs(args, kwargs), self_instance=s)
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, Sleep mode is not supported on current platform. [type=value_error]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error"""
FLAG = """\
usage: api_server.py [-h] [--headless]
                     [--moe-backend {auto,triton}]
api_server.py: error: unrecognized arguments: --moe-backnd"""
MODEL = """\
    validate_repo_id(arg_value)
    raise HFValidationError(
huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name': '/no/such'."""
ENGINE = """\
(EngineCore pid=7) ERROR 11-22 04:44:41 [core.py:1101] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-22 04:44:41 [core.py:1101]     raise ValueError(
(EngineCore pid=7) ERROR 11-22 04:44:41 [core.py:1101] ValueError: Free memory on device is less than desired.
(EngineCore pid=7) Traceback (most recent call last):
(APIServer pid=5)     raise RuntimeError(
(APIServer pid=5) RuntimeError: Engine core initialization failed. See root cause above."""
PORT = "OSError: [Errno 98] Address already in use"


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (SLEEP, "Sleep mode is not supported on current platform."),
        (FLAG, "unrecognized arguments: --moe-backnd; did you mean --moe-backend?"),
        (MODEL, "HFValidationError: Repo id must be in the form 'repo_name': '/no/such'."),
        (ENGINE, "ValueError: Free memory on device is less than desired."),
        (PORT, "OSError: [Errno 98] Address already in use"),
        ("INFO: fine\nWARNING: hm", None),
        ("", None),
    ],
)
def test_the_reason_is_the_first_cause(log: str, why: str | None) -> None:
    assert reason(log.splitlines()) == why


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            "(APIServer pid=5) INFO 11-22 04:47:00 [model.py:2152] Using max model len 1024",
            "reading the configuration",
        ),
        ("Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:01<00:01]", "loading weights, 50%"),
        ("INFO:     Application startup complete.", "ready"),
        ("(APIServer pid=5) WARNING 11-22 04:47:00 [cpu.py:224] Triton is not installed.", None),
        ("WARNING 11-22 04:47:00 [vllm.py:1703] Enforce eager set, disabling torch.compile.", None),
    ],
)
def test_the_phase_of_a_start(line: str, what: str | None) -> None:
    assert phase(line) == what
