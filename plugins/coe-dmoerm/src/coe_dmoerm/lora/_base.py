"""A causal language model with adapters, of which one at a time reads answers. Needs the extra `lora`."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import ArtifactError, ConfigError, PluginError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe_dmoerm._items import Item

TARGETS = ("q_proj", "v_proj")
_DROPOUT = 0.05
_BATCH_TOKENS = 4096


class Base:
    """A base model and its adapters. Not for several threads at once.

    Args:
        folder: a Hugging Face folder of a causal language model, with safetensors and a tokenizer.
        tokens: longest prompt and answer together that it reads.
        rank: of the adapters.

    Raises:
        ConfigError: no such model, or one without the layers that adapters go to.
        PluginError: torch, transformers or peft is not installed.
    """

    def __init__(self, folder: Path, tokens: int, rank: int) -> None:
        self.torch, transformers, self._peft = map(_module, ("torch", "transformers", "peft"))
        self.tokens, self.rank = tokens, rank
        self.device = "cuda" if self.torch.cuda.is_available() else "cpu"
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True
            )
            # Single precision everywhere: a reward is the same on the machine that serves it.
            base: Any = transformers.AutoModel.from_pretrained(
                str(folder), dtype=self.torch.float32, local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} holds no language model: {error}.") from error
        self._config = self._peft.LoraConfig(
            r=rank, lora_alpha=rank, lora_dropout=_DROPOUT, target_modules=list(TARGETS), bias="none"
        )
        try:
            self.model: Any = self._peft.get_peft_model(base, self._config, adapter_name="unused")
        except ValueError as error:
            raise ConfigError(f"{folder} takes no adapters on {', '.join(TARGETS)}: {error}.") from error
        self.model.to(self.device).eval()
        self.dim = int(base.config.hidden_size)

    def add(self, name: str, tensors: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Make an adapter: one that changes nothing yet, or of these tensors.

        Raises:
            ArtifactError: the tensors are of another model or rank.
        """
        self.model.add_adapter(name, self._config)
        self.model.eval()  # a new adapter's dropout is on
        if tensors is None:
            return
        state = {key: self.torch.from_numpy(np.array(value)) for key, value in tensors.items()}
        own = self.tensors(name)
        if {key: value.shape for key, value in own.items()} != {k: v.shape for k, v in tensors.items()}:
            raise ArtifactError("The adapters do not fit this language model.")
        self._peft.set_peft_model_state_dict(self.model, state, adapter_name=name)

    def tensors(self, name: str) -> dict[str, NDArray[Any]]:
        """What makes up an adapter."""
        state = self._peft.get_peft_model_state_dict(self.model, adapter_name=name)
        return {key: value.detach().float().cpu().numpy() for key, value in sorted(state.items())}

    @contextmanager
    def trained(self, name: str) -> Generator[list[Any]]:
        """Train an adapter in this block; its parameters are given."""
        self.model.set_adapter(name)
        self.model.train()
        try:
            yield [each for each in self.model.parameters() if each.requires_grad]
        finally:
            self.model.eval()

    def read(self, item: Item) -> list[int]:
        """Tokens of context, prompt and answer; of long ones an answer's head and the rest's two ends."""
        answer = self._ids(item.response)[: self.tokens // 2]
        asked = self._ids("".join(f"{part}\n\n" for part in (item.context, item.prompt) if part.strip()))
        room = self.tokens - len(answer) - 2
        if len(asked) > room:
            asked = [*asked[: room // 2], *asked[len(asked) - (room - room // 2) :]]
        return [self._start, *asked, *answer, int(self._tokenizer.eos_token_id)]

    def last_hidden(self, rows: Sequence[Sequence[int]]) -> Any:
        """Hidden state of each row's last token by the adapter that is set: a float32 tensor [n, dim]."""
        longest = max(map(len, rows))
        ids = self.torch.zeros((len(rows), longest), dtype=self.torch.long)
        mask = self.torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = self.torch.tensor(row)
            mask[at, : len(row)] = 1
        found = self.model(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device), use_cache=False
        ).last_hidden_state
        ends = self.torch.tensor([len(row) - 1 for row in rows], device=self.device)
        return found[self.torch.arange(len(rows), device=self.device), ends]

    def hidden(self, name: str, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The same for many rows by an adapter, without training: float32[n, dim]."""
        self.model.set_adapter(name)
        found = np.zeros((len(rows), self.dim), np.float32)
        with self.torch.inference_mode():
            for batch in _batches(rows):
                found[batch] = self.last_hidden([rows[at] for at in batch]).cpu().numpy()
        return found

    @property
    def _start(self) -> int:
        first = self._tokenizer.bos_token_id
        return int(self._tokenizer.eos_token_id if first is None else first)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def fingerprint(folder: Path) -> str:
    """Hash of a model's configuration, tokenizer and weights.

    Raises:
        ConfigError: there is none.
    """
    files = sorted(
        (*folder.glob("*.safetensors"), *folder.glob("config.json"), *folder.glob("tokenizer.json"))
    )
    if not any(file.suffix == ".safetensors" for file in files):
        raise ConfigError(f"{folder} holds no safetensors of a language model.")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _batches(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Rows of like length together, so that little is padded."""
    batch: list[int] = []
    for at in sorted(range(len(rows)), key=lambda at: len(rows[at])):
        if batch and (len(batch) + 1) * len(rows[at]) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PluginError(
            f"The backbone `lora` needs {name}: {error}.", hint='pip install "coe-dmoerm[lora]"'
        ) from error
