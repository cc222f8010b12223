"""A small server with vLLM's interface, for tests of what goes on around a server.

It says what vLLM 0.32.0 says on start, answers with the last user message, and does with adapters and with
sleep what that release does: statuses and words were copied from it. Like vLLM it starts a worker process of
its own, whose id is the `worker` of /server_info. While it sleeps, requests hang, as they do there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

FAILURE = """(EngineCore pid=7) ERROR 11-22 04:44:41 [core.py:1101] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-22 04:44:41 [core.py:1101]   File "vllm/v1/engine/core.py", line 1, in run
(EngineCore pid=7) ERROR 11-22 04:44:41 [core.py:1101] ValueError: {why}
(APIServer pid=5) RuntimeError: Engine core initialization failed. See root cause above."""


def _halves(said: str) -> list[dict[str, Any]]:
    return [{"delta": {"content": said[:4]}}, {"delta": {"content": said[4:]}}]


class State:
    """What the server holds."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.adapters: dict[str, str] = {}
        self.awake = threading.Event()
        self.awake.set()
        self.asleep: set[str] = set()
        self.weights = True
        self.healthy = True
        self.running = 0
        self.waiting = 0
        self.calls: list[str] = []
        self.worker = 0
        self.layers: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path, state = urlsplit(self.path).path, self.state
        if path == "/health":
            self._send(200 if state.healthy else 503, b"")
        elif path == "/metrics":
            name = state.options.served_model_name
            lines = [
                f'vllm:num_requests_running{{engine="0",model_name="{name}"}} {state.running}.0',
                f'vllm:num_requests_waiting{{engine="0",model_name="{name}"}} {state.waiting}.0',
                f'vllm:kv_cache_usage_perc{{engine="0",model_name="{name}"}} 0.0',
            ]
            self._send(200, "\n".join(lines).encode(), "text/plain")
        elif path == "/v1/models":
            if self._allowed():
                base = state.options.served_model_name
                rows: list[dict[str, Any]] = [
                    {"id": base, "root": state.options.model, "parent": None, "max_model_len": 512}
                ]
                rows += [
                    {"id": name, "root": where, "parent": base} for name, where in state.adapters.items()
                ]
                self._json(200, {"object": "list", "data": rows})
        elif path == "/is_sleeping" and state.options.enable_sleep_mode:
            self._json(200, {"is_sleeping": not state.awake.is_set()})
        elif path == "/server_info":
            self._json(200, {"worker": state.worker, "calls": state.calls, "pid": os.getpid()})
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url, state = urlsplit(self.path), self.state
        given: dict[str, Any] = json.loads(body) if body else {}
        if url.path.startswith("/v1/") and not self._allowed():
            return
        if url.path == "/v1/chat/completions":
            self._chat(given)
        elif url.path == "/v1/completions":
            self._continue(given)
        elif url.path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter") and state.options.enable_lora:
            self._adapter(url.path, given)
        elif url.path == "/sleep" and state.options.enable_sleep_mode:
            level = int(parse_qs(url.query).get("level", ["1"])[0])
            state.weights = level < 2
            state.asleep = {"weights", "kv_cache"}
            state.awake.clear()
            state.calls.append(f"sleep {level}")
            self._json(200, {"status": "sleeping", "level": level})
        elif url.path == "/wake_up" and state.options.enable_sleep_mode:
            state.calls.append(f"wake_up {url.query}".strip())
            tags = parse_qs(url.query).get("tags")
            state.asleep -= set(tags or ("weights", "kv_cache"))
            if not state.asleep:  # a partial wake leaves the scheduler paused
                state.awake.set()
            self._json(200, {"status": "sleeping" if state.asleep else "awake", "tags": tags})
        elif url.path == "/collective_rpc" and given["method"] == "coe_kernels_status":
            if not state.options.worker_extension_cls or os.environ.get("VLLM_SERVER_DEV_MODE") != "1":
                self._json(404, {"detail": "Not Found"})
                return
            self._json(200, {"results": [{"layers": state.layers, "declined": {}}] * 2})
        elif url.path == "/collective_rpc" and state.options.enable_sleep_mode:
            if state.asleep & {"weights"}:
                self._error(500, "the weights' memory is not mapped")
                return
            state.calls.append(given["method"])
            state.weights = state.weights or given["method"] == "reload_weights"
            self._json(200, {"results": [None]})
        elif url.path == "/v1/embeddings":
            row = {"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}
            usage = {"prompt_tokens": 3, "total_tokens": 3}
            self._json(200, {"object": "list", "data": [row], "model": given["model"], "usage": usage})
        elif url.path == "/classify":
            words = len(str(given["messages"]))
            probs = [words / 100] + [0.5] * (state.options.labels - 1)
            self._json(200, {"data": [{"index": 0, "label": "LABEL_0", "probs": probs}]})
        elif url.path == "/pooling":
            tokens = [[0.1], [len(str(given["messages"])) / 100]]
            self._json(200, {"data": [{"index": 0, "object": "pooling", "data": tokens}]})
        elif url.path == "/score":
            score = len(given["text_1"]) + len(given["text_2"]) / 100
            self._json(200, {"data": [{"index": 0, "object": "score", "score": score}]})
        elif url.path == "/fake":
            for name, value in given.items():
                setattr(state, name, value)
            self._send(200, b"")
        else:
            self._json(404, {"detail": "Not Found"})

    def _adapter(self, path: str, given: dict[str, Any]) -> None:
        name, held = given["lora_name"], self.state.adapters
        if path == "/v1/unload_lora_adapter":
            if name not in held:
                self._error(404, f"The lora adapter '{name}' cannot be found.")
                return
            del held[name]
            self.state.calls.append(f"unload {name}")
            self._send(200, f"Success: LoRA adapter '{name}' removed successfully.".encode())
        elif name in held:
            self._error(
                400,
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in "
                "place, set 'load_inplace' to True.",
            )
        elif not Path(given["lora_path"]).is_dir():
            self._error(404, f"Loading lora {name} failed: No adapter found for <path>")
        else:
            held[name] = given["lora_path"]
            self.state.calls.append(f"load {name}")
            self._send(200, f"Success: LoRA adapter '{name}' added successfully.".encode())

    def _chat(self, given: dict[str, Any]) -> None:
        content = given["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        whole = {"message": {"role": "assistant", "content": f"{given['model']}: {text}"}}
        first = {"delta": {"role": "assistant", "content": ""}}
        self._answer(given, "chat.completion", whole, [first, *_halves(f"{given['model']}: {text}")])

    def _continue(self, given: dict[str, Any]) -> None:
        text = f"{given['model']} goes on: {given['prompt']}"
        self._answer(given, "text_completion", {"text": text}, [{"text": text[:4]}, {"text": text[4:]}])

    def _answer(
        self, given: dict[str, Any], kind: str, whole: dict[str, Any], pieces: list[dict[str, Any]]
    ) -> None:
        state, model = self.state, given["model"]
        if model not in (state.options.served_model_name, *state.adapters):
            self._error(404, f"The model `{model}` does not exist.")
            return
        state.awake.wait()
        if not state.weights:
            self._error(500, "garbage: the weights were dropped and not read again")
            return
        if state.options.slow_s:
            time.sleep(state.options.slow_s)
        common = {"id": f"cmpl-{time.monotonic_ns()}", "created": 0, "model": model}
        if not given.get("stream"):
            usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
            choices = [{"index": 0, "finish_reason": "stop", **whole}]
            self._json(200, {**common, "object": kind, "choices": choices, "usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        last = {"delta": {}} if kind == "chat.completion" else {"text": ""}
        if kind == "chat.completion":
            kind = "chat.completion.chunk"
        for piece in (*pieces, {**last, "finish_reason": "stop"}):
            event = {**common, "object": kind, "choices": [{"index": 0, "finish_reason": None, **piece}]}
            self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _allowed(self) -> bool:
        key = os.environ.get("VLLM_API_KEY")
        if key and self.headers.get("authorization") != f"Bearer {key}":
            self._json(401, {"error": "Unauthorized"})
            return False
        return True

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": "x", "param": None, "code": status}})

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Threads that nobody waits for, and no words about clients that left."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may leave."""


def main() -> None:
    """Serve until a signal comes."""
    options = make_arg_parser(FlexibleArgumentParser(prog="api_server.py")).parse_args()
    print("(APIServer pid=5) INFO 11-22 04:47:00 [model.py:733] Resolved architecture: LlamaForCausalLM")
    state = State(options)
    # In a session of its own, so that only its parentage shows whose it is.
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    state.worker = worker.pid
    print(f"worker {worker.pid}", flush=True)
    print("(EngineCore pid=7) INFO 11-22 04:47:01 [cpu_model_runner.py:1] Starting to load model", flush=True)
    if options.fail:
        print(FAILURE.format(why=options.fail), flush=True)
        worker.kill()
        sys.exit(1)
    time.sleep(options.delay_s)
    Handler.state = state
    server = Server((options.host, options.port), Handler)
    print("INFO:     Application startup complete.", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
