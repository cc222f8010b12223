"""The process that serves one GGUF file over OpenAI's API on the loopback interface.

It is run as a script and imports nothing of coe, so it starts fast and stays small. The parent writes its
order as one JSON line to stdin and keeps stdin open; this process answers with one JSON line when it serves,
and ends when stdin ends, which it does however the parent dies. llama.cpp writes to stderr only until then,
because later lines may quote prompts.
"""

from __future__ import annotations

import ctypes
import http.client
import importlib
import json
import os
import signal
import sys
from typing import Any
from urllib.parse import urlsplit

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PROMPT_CACHE_MIB = 256  # llama.cpp's own default is 8 GiB
_ERRORS_ONLY = 1


def main() -> int:
    """Serve until the parent goes away; the exit status."""
    # Ctrl-C and service managers signal the whole group; the parent decides when running requests are done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with_parent()
    announce = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints must not look like our answer
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    order: dict[str, Any] = json.loads(line)
    try:
        # The name keeps the server alive.
        server = importlib.import_module("xllamacpp").Server(_parameters(order))
        base_url: str = server.listening_address
        _check_health(base_url)
    except (ImportError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.write(announce, json.dumps({"base_url": base_url}).encode() + b"\n")
    os.close(announce)
    sys.stdin.buffer.read()
    # Nothing to save; joining llama.cpp's threads would wait for answers that nobody reads any more.
    os._exit(0)


def _parameters(order: dict[str, Any]) -> Any:
    """llama.cpp's parameters: CPU only, no warm-up and no memory probing, which cost seconds at start."""
    params: Any = importlib.import_module("xllamacpp").CommonParams()
    params.model.path = order["model"]
    params.model_alias = {order["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [order["api_key"]]
    params.n_parallel = order["slots"]
    params.n_ctx = order["context_tokens"] * order["slots"]
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.n_gpu_layers = 0
    params.fit_params = False
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = _ERRORS_ONLY
    return params


def _check_health(base_url: str) -> None:
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=5)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"/health answered {status} after the start")


def _die_with_parent() -> None:
    """End with the parent even where another process inherited its end of the pipe (Linux only).

    When memory runs out, the kernel shall also take this process and not the gateway.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:  # a sandbox without /proc: the process works all the same
        return


if __name__ == "__main__":
    sys.exit(main())
