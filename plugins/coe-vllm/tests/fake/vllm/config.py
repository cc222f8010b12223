"""One of vLLM's configuration classes, as far as an argument's keys go."""

from dataclasses import dataclass


@dataclass
class CompilationConfig:
    """Values of `--compilation-config`."""

    mode: int = 3
    cudagraph_mode: str = ""
