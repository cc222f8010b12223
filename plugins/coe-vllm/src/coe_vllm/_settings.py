"""The plugin's keys in a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)

from coe.contracts import ExpertName
from coe_vllm._presets import Argument, PresetName

_OURS = {
    "api_key": "coe makes one, or `api_key` of the expert says it",
    "host": "a launched server listens on the loopback interface",
    "lora_modules": "declare an expert of kind `adapter` for each",
    "model": "`model` of the expert says it",
    "port": "set `launch.port`",
    "served_model_name": "it is the name of the expert",
}


class Strict(BaseModel):
    """Unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Launch(Strict):
    """How to run a server."""

    preset: PresetName | None = Field(
        default=None, description="Arguments for a kind of machine; `args` and `env` lie over them."
    )
    args: dict[str, Argument] = Field(
        default={},
        description="Arguments of `vllm serve` by name, dashes or underscores: true and false become --name "
        "and "
        "--no-name, an object becomes JSON, a list several values.",
    )
    env: dict[str, str] = Field(default={}, description="Environment variables.", repr=False)
    python: Path | None = Field(
        default=None, description="Python of the environment that holds vLLM; coe's own by default."
    )
    gpus: list[int] | None = Field(
        default=None, description="GPUs that it may use, as CUDA numbers them; all by default."
    )
    tuned_configs: Path | None = Field(
        default=None, description="Folder of tuned configurations for fused mixture-of-experts kernels."
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="A free one by default.")
    start_timeout_s: PositiveFloat = Field(default=900, description="Longest time from launch to ready.")
    stop_grace_s: PositiveFloat = Field(default=20, description="From SIGTERM to SIGKILL.")
    log_file: Path | None = Field(
        default=None, description="Where its output is appended; only its last lines are kept by default."
    )

    @model_validator(mode="after")
    def _no_hidden_twins(self) -> Launch:
        for name in self.args:
            if (why := _OURS.get(name.replace("-", "_"))) is not None:
                raise ValueError(f"`{name}` may not stand in `args`: {why}")
        return self


class VllmSettings(Strict):
    """A server that runs, or that coe launches."""

    model: str = Field(
        description="To attach: the name that the server gives the model. To launch: a folder or a name on "
        "the hub."
    )
    base_url: str | None = Field(default=None, description="URL of a running server, ending in /v1.")
    launch: Launch | None = Field(default=None, description="Run a server for this expert.")
    api_key: SecretStr | None = Field(
        default=None, description="The server's key; use ${NAME}. One is made for a launched server."
    )
    config: Path | None = Field(
        default=None, description="Folder with the model's config.json, where `model` is none: for its size."
    )
    adapter_slots: PositiveInt | None = Field(
        default=None,
        description="Adapters loaded at once; by default `max_cpu_loras` or `max_loras` of the arguments, "
        "else 4.",
    )
    full_at: PositiveInt | None = Field(
        default=None,
        description="Running requests that fill the server; `max_num_seqs` of the arguments by default.",
    )
    poll_s: PositiveFloat = Field(default=1.0, description="Seconds between two looks at health and load.")
    memory: ExpertName | None = Field(
        default=None, description="The `vllm-memory` that it shares with others; awake for good without."
    )
    memory_gb: PositiveFloat | None = Field(
        default=None, description="Memory that it takes when awake; the size of its weights by default."
    )
    sleep: Literal["mode", "stop"] = Field(
        default="stop",
        description="How it leaves the memory: vLLM's sleep mode (needs `enable_sleep_mode`, not on a CPU), "
        "or its "
        "process ends.",
    )
    pinned: bool = Field(default=False, description="Never leaves the memory.")
    layer_counts: bool = Field(
        default=False,
        description="Ask for what the model's sparse layers did, for the gateway's metrics. Needs "
        "coe-kernels where vLLM is installed; a launched server is started with its worker extension and in "
        "vLLM's development mode.",
    )
    first_byte_timeout_s: PositiveFloat = Field(default=300, description="Until the answer begins.")
    idle_timeout_s: PositiveFloat = Field(default=120, description="Longest silence within a stream.")

    @model_validator(mode="after")
    def _one_of_both(self) -> VllmSettings:
        if (self.base_url is None) == (self.launch is None):
            raise ValueError("give either `base_url`, to attach to a server, or `launch`, to run one")
        if self.memory is not None and self.launch is None and self.sleep == "stop":
            raise ValueError(
                "a server that coe did not launch cannot be stopped: set `sleep: mode`, or no `memory`"
            )
        return self


class RewardSettings(VllmSettings):
    """A server with a model that scores."""

    ask: Literal["classify", "score", "pooling"] = Field(
        default="classify",
        description="Where: /classify for a reward model, which sees the whole chat; /score for a "
        "cross-encoder, which sees one question and its answer; /pooling for a model with a reward for each "
        "token, of which the last counts.",
    )
    label: NonNegativeInt | None = Field(
        default=None, description="Which output is the reward, of a model with several; from 0."
    )

    @model_validator(mode="after")
    def _one_number(self) -> RewardSettings:
        if self.label is not None and self.ask == "score":
            raise ValueError("`label` has no meaning with `ask: score`: it answers one number")
        return self


class AdapterSettings(Strict):
    """A LoRA adapter."""

    base: ExpertName = Field(description="The `vllm` expert whose server holds it.")
    path: Path | None = Field(
        default=None,
        description="Folder of the adapter as PEFT saves it; without it, the server must know the adapter "
        "already.",
    )
    adapter: str | None = Field(
        default=None, description="Its name on the server; the name of the expert by default."
    )
    base_model: str | None = Field(
        default=None,
        description="Name of the base model that the adapter may also give; `any` takes every name. Shapes "
        "are "
        "checked all the same.",
    )


class MemorySettings(Strict):
    """What several servers share. Put `routable: false` beside it: it answers nothing."""

    gpu_gb: PositiveFloat = Field(description="Memory for awake models, in GB (on a CPU: RAM).")
    host_gb: float = Field(default=0.0, ge=0, description="RAM for models in sleep mode.")
    max_overtaken: int = Field(
        default=64,
        ge=0,
        description="How many requests may overtake one that waits for a model, before models in its way "
        "take no "
        "more.",
    )
