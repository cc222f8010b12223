"""Launching a vLLM server and looking after it."""

from coe_vllm.server._process import Order, Process, StartFailed
from coe_vllm.server._supervisor import Server, Status

__all__ = ["Order", "Process", "Server", "StartFailed", "Status"]
