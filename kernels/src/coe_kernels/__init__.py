"""Fused mixture-of-experts kernels for vLLM."""
