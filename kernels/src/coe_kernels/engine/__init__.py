"""What runs inside vLLM's process: needs torch and vLLM, which the rest of the package does not."""
