"""From settings to experts; touches no network and starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from coe.contracts import Build, Capability, Card, Expert, ExpertKind, Startable
from coe.errors import ConfigError
from coe_vllm._adapters import base_facts, misfit, read_adapter
from coe_vllm._backend import Attached, Backend, Launched
from coe_vllm._embedding import VllmEmbedding
from coe_vllm._expert import AdapterExpert, MakeExpert, VllmExpert
from coe_vllm._layers import counting
from coe_vllm._memory import SharedMemory
from coe_vllm._model import Size, chat_template, read_size
from coe_vllm._presets import Argument
from coe_vllm._reward import VllmReward
from coe_vllm._settings import AdapterSettings, MemorySettings, RewardSettings, VllmSettings
from coe_vllm.residency import Memory, Model
from coe_vllm.server._command import arguments

_CONTINUES: frozenset[Capability] = frozenset({"complete", "stream", "json_schema"})
_CHATS: frozenset[Capability] = frozenset({"chat"})
_EMBEDS: frozenset[Capability] = frozenset({"embed"})
_TOOLS: frozenset[Capability] = frozenset({"tools"})
_NOTHING: frozenset[Capability] = frozenset()
_DEFAULT_SLOTS = 4
_BYTES_PER_GB = 1e9
_WORK_SHARE = 1.25
"""Memory of an awake model over its weights, where the configuration does not say: cache and activations."""


def create_model(name: str, settings: VllmSettings, build: Build) -> VllmExpert:
    """The factory of `vllm`. Raises `ConfigError`."""
    args = arguments(settings.launch) if settings.launch else {}
    folder = _folder(settings, build)
    size = read_size(folder)
    backend = _backend(name, settings, build)
    # A base model continues prompts; without a template vLLM refuses chats.
    chats = chat_template(folder) is not False or "chat_template" in args
    capabilities = _CONTINUES | (_CHATS if chats else _NOTHING)
    if args.get("enable_auto_tool_choice"):
        capabilities |= _TOOLS
    defaults = Card(
        name=name,
        capabilities=capabilities,
        context_window=_number(args.get("max_model_len")),
        params_b=size.params_b if size else None,
        active_params_b=size.active_params_b if size else None,
        input_usd_per_mtok=0.0 if settings.launch else None,
        output_usd_per_mtok=0.0 if settings.launch else None,
        locality="local" if settings.launch else "remote",
    )

    make_expert = _maker(name, settings, build, capabilities)
    memory = _memory_of(name, settings, build)
    served = name if settings.launch else settings.model
    rank = _number(args.get("max_lora_rank")) or (16 if settings.launch else None)
    expert = VllmExpert(
        defaults,
        build.card,
        make_expert,
        backend,
        served_name=served,
        base=base_facts(folder, frozenset({settings.model}), rank),
        adapter_slots=_slots(settings, args),
        full_at=settings.full_at or _number(args.get("max_num_seqs")),
        poll_s=settings.poll_s,
        memory=memory,
        sleep_mode=settings.memory is not None and settings.sleep == "mode",
        layer_counts=settings.layer_counts,
    )
    if memory is not None:
        memory.add(_model_of(name, settings, size), expert)
    return expert


def create_adapter(name: str, settings: AdapterSettings, build: Build) -> AdapterExpert:
    """The factory of `adapter`: reads the adapter's headers. Raises `ConfigError`."""
    server = _inner(build.expert(settings.base))
    if not isinstance(server, VllmExpert):
        raise ConfigError(f"`base` of the adapter `{name}`: `{settings.base}` is not of kind `vllm`.")
    folder = None if settings.path is None else build.base_dir / settings.path.expanduser()
    facts = None if folder is None else read_adapter(folder)
    if facts is not None and (why := misfit(facts, server.base, settings.base_model)) is not None:
        raise ConfigError(f"The adapter `{name}` does not fit `{settings.base}`: {why}.")
    base = server.card
    card = Card(
        name=name,
        kind="adapter",
        capabilities=base.capabilities,
        params_b=base.params_b,
        active_params_b=base.active_params_b,
        input_usd_per_mtok=base.input_usd_per_mtok,
        output_usd_per_mtok=base.output_usd_per_mtok,
        locality=base.locality,
    )
    return AdapterExpert(
        build.card(card),
        server,
        model=settings.adapter or name,
        folder=folder,
        facts=facts,
        also=settings.base_model,
    )


def create_reward(name: str, settings: RewardSettings, build: Build) -> VllmReward:
    """The factory of `vllm-reward`. Raises `ConfigError`."""
    card = _pooling_card(name, settings, build, kind="reward", capabilities=frozenset({"score"}))
    served = name if settings.launch else settings.model
    return VllmReward(build.card(card), settings, _backend(name, settings, build), served)


def create_embedding(name: str, settings: VllmSettings, build: Build) -> VllmEmbedding:
    """The factory of `vllm-embedding`. Raises `ConfigError`."""
    card = _pooling_card(name, settings, build, kind="model", capabilities=_EMBEDS)
    served = name if settings.launch else settings.model
    make_expert = _maker(name, settings, build, _EMBEDS)
    return VllmEmbedding(build.card(card), make_expert, _backend(name, settings, build), served)


def _pooling_card(
    name: str, settings: VllmSettings, build: Build, *, kind: ExpertKind, capabilities: frozenset[Capability]
) -> Card:
    if settings.memory is not None:
        raise ConfigError(f"`memory` of `{name}`: a reward or embedding model stays awake; leave it out.")
    if settings.layer_counts:
        raise ConfigError(
            f"`layer_counts` of `{name}`: only models that chat tell of their layers; leave it out."
        )
    size = read_size(_folder(settings, build))
    return Card(
        name=name,
        kind=kind,
        capabilities=capabilities,
        params_b=size.params_b if size else None,
        active_params_b=size.active_params_b if size else None,
        locality="local" if settings.launch else "remote",
    )


def create_memory(name: str, settings: MemorySettings, build: Build) -> SharedMemory:
    """The factory of `vllm-memory`."""
    card = Card(name=name, kind="composite", capabilities=frozenset(), locality="local")
    return SharedMemory(build.card(card), Memory(settings.gpu_gb, settings.host_gb), settings.max_overtaken)


def _maker(
    name: str, settings: VllmSettings, build: Build, capabilities: frozenset[Capability]
) -> MakeExpert:
    """Makes coe's own client of OpenAI's protocol for a server."""

    def make(base_url: str, model: str, key: str) -> Expert:
        keys: dict[str, object] = {
            "base_url": base_url,
            "model": model,
            "first_byte_timeout_s": settings.first_byte_timeout_s,
            "idle_timeout_s": settings.idle_timeout_s,
        }
        if key:
            keys["api_key"] = key
        return build.nested("openai", keys, Card(name=name, capabilities=capabilities))

    return make


def _backend(name: str, settings: VllmSettings, build: Build) -> Backend:
    if settings.launch is None:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        return Attached(name, settings.base_url or "", key)
    args = arguments(settings.launch)
    if settings.memory is not None and settings.sleep == "mode" and not args.get("enable_sleep_mode"):
        raise ConfigError(
            f"`sleep: mode` of `{name}` needs `enable_sleep_mode: true` under `launch.args`.",
            hint="vLLM has no sleep mode on a CPU: there, leave `sleep` out, and the process is stopped and "
            "started.",
        )
    launch = counting(settings.launch) if settings.layer_counts else settings.launch
    model = build.base_dir / Path(settings.model).expanduser()
    return Launched(name, settings, launch, str(model) if model.is_dir() else settings.model, build.base_dir)


def _folder(settings: VllmSettings, build: Build) -> Path:
    return build.base_dir / (settings.config or Path(settings.model)).expanduser()


def _memory_of(name: str, settings: VllmSettings, build: Build) -> SharedMemory | None:
    if settings.memory is None:
        return None
    memory = _inner(build.expert(settings.memory))
    if not isinstance(memory, SharedMemory):
        raise ConfigError(f"`memory` of `{name}`: `{settings.memory}` is not of kind `vllm-memory`.")
    return memory


def _model_of(name: str, settings: VllmSettings, size: Size | None) -> Model:
    weights_gb = size.params_b * 1e9 * size.bytes_per_param / _BYTES_PER_GB if size else None
    gpu_gb = settings.memory_gb or (weights_gb * _WORK_SHARE if weights_gb else None)
    if gpu_gb is None:
        raise ConfigError(f"`{name}`: how much memory it takes is not known: set `memory_gb`.")
    return Model(
        name=name,
        tier="disk" if settings.launch else "host",
        gpu_gb=gpu_gb,
        host_gb=weights_gb or gpu_gb,
        sleeps=settings.sleep == "mode",
        pinned=settings.pinned,
    )


def _slots(settings: VllmSettings, args: dict[str, Argument]) -> int:
    return (
        settings.adapter_slots
        or _number(args.get("max_cpu_loras"))
        or _number(args.get("max_loras"))
        or _DEFAULT_SLOTS
    )


def _inner(expert: Expert) -> Expert | Startable:
    """What the plugin made, without the gate or the stand-in that the host puts around it."""
    while (inner := getattr(expert, "inner", None)) is not None:
        expert = cast("Expert", inner)
    return expert


def _number(value: Argument | None) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return int(value)  # pyright: ignore[reportArgumentType]  (a list or object raises TypeError)
    except (TypeError, ValueError):
        return None
