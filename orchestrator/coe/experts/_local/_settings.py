"""Settings of the `local` expert."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator


def default_threads() -> int:
    """Half of the CPUs that this process may run on.

    llama.cpp's threads wait for one another by spinning. With a thread on every CPU, anything else that runs
    makes all of them wait: on two busy CPUs two threads gave 1 to 4 tokens/s and one thread 30
    (docs/local-model.md).
    """
    return max(1, len(os.sched_getaffinity(0)) // 2)


class LocalSettings(BaseModel):
    """Which model to run on this machine, and how much of the machine it may take."""

    model: Path | None = Field(
        default=None, description="A GGUF file; the embedded default model (135M parameters) without it."
    )
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="Refuse `model` unless it has this hash."
    )
    context_tokens: int = Field(
        default=2048, ge=256, description="Tokens of prompt and answer together, per request."
    )
    slots: int = Field(default=4, ge=1, le=64, description="Requests answered at the same time.")
    threads: PositiveInt = Field(
        default_factory=default_threads, description="CPU threads; by default half of the CPUs."
    )
    max_start_s: PositiveFloat = Field(
        default=60, description="Longest time for loading the model, not counting its download."
    )
    cache_dir: Path | None = Field(
        default=None, description="Where the default model is kept; the user's cache folder by default."
    )

    @model_validator(mode="after")
    def _hash_needs_model(self) -> LocalSettings:
        if self.sha256 is not None and self.model is None:
            raise ValueError("`sha256` is the hash of `model`, which is not set")
        return self
