"""What the author of a plugin needs in tests: a fake upstream, short constructors, a conformance kit.

The kit is in `coe.testing.conformance`, which needs pytest; nothing else here does.
"""

from coe.testing._make import build, chat, context, pool_view
from coe.testing.upstream import Answer, FakeUpstream, Fault, Framing, Received

__all__ = [
    "Answer",
    "FakeUpstream",
    "Fault",
    "Framing",
    "Received",
    "build",
    "chat",
    "context",
    "pool_view",
]
