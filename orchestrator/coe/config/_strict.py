"""What all blocks of the configuration have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown keys are errors.

    `defer_build`: most blocks are only ever checked as a part of `Config`, which has
    their schemas within its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
