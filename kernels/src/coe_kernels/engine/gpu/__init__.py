"""Triton kernels for GPUs, and the class by which vLLM runs them."""
