"""What is kept of every request: the `journal` block."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from coe.config._strict import Strict


class JournalConfig(Strict):
    """One record per served request, in files of bounded size."""

    dir: Path | None = Field(
        default=None, description="Folder of the journal; without it there is no journal."
    )
    prompts: bool = Field(default=False, description="True: the text of the last user turn is kept too.")
    max_mb: PositiveFloat = Field(default=1024, description="All segments together, in MB; oldest go first.")
    segment_mb: PositiveFloat = Field(default=32, description="Size at which a segment is closed, in MB.")
    segment_age_s: PositiveFloat = Field(default=3600, description="Age at which a segment is closed.")
    fsync: Literal["batch", "second", "never"] = Field(
        default="second",
        description="When records are forced to the disk: what a loss of power may take, not a crash of coe.",
    )

    @model_validator(mode="after")
    def _holds_two_segments(self) -> Self:
        if self.segment_mb > self.max_mb / 2:
            raise ValueError(f"`segment_mb` must be at most half of `max_mb`, which is {self.max_mb:g}")
        return self
