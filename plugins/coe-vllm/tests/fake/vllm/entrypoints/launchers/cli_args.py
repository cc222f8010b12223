"""The small server's arguments, where vLLM 0.32.0 has its own."""

from __future__ import annotations

import argparse
import json


def make_arg_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add them. `--labels`, `--fail`, `--delay-s` and `--slow-s` are the small server's alone."""
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--model")
    parser.add_argument("--served-model-name")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--max-loras", type=int)
    parser.add_argument("--max-lora-rank", type=int)
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--enable-sleep-mode", action="store_true")
    parser.add_argument("--moe-backend", choices=["auto", "triton", "deep_gemm"])
    parser.add_argument("--compilation-config", type=json.loads)
    parser.add_argument("--allowed-origins", type=json.loads)
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction)
    parser.add_argument("--chat-template")
    parser.add_argument("--worker-extension-cls", default="")
    parser.add_argument("--labels", type=int, default=1)
    parser.add_argument("--fail", default="")
    parser.add_argument("--delay-s", type=float, default=0)
    parser.add_argument("--slow-s", type=float, default=0)
    return parser
