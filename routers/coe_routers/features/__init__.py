"""What classifiers see of a prompt: hashed n-grams and embeddings."""

from coe_routers.features._encoder import (
    DAMPED,
    Encoded,
    Encoder,
    SparseRow,
    inverse_document_frequency,
    shapes,
    weigh,
)
from coe_routers.features._ngrams import BUCKETS, SCHEME, count_ngrams
from coe_routers.features._reading import Reading, read
from coe_routers.features._static import StaticEmbedder
from coe_routers.features._text import MAX_CHARS, routing_text, windows
from coe_routers.features._token_rows import CompiledTokenRows

__all__ = [
    "BUCKETS",
    "DAMPED",
    "MAX_CHARS",
    "SCHEME",
    "CompiledTokenRows",
    "Encoded",
    "Encoder",
    "Reading",
    "SparseRow",
    "StaticEmbedder",
    "count_ngrams",
    "inverse_document_frequency",
    "read",
    "routing_text",
    "shapes",
    "weigh",
    "windows",
]
