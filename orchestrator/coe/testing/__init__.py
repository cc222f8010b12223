"""What the author of a plugin needs in tests: a fake upstream, short constructors, a conformance kit.

The kit is in `coe.testing.conformance`, which needs pytest; nothing else here does.
"""

from coe.testing._clock import Clock
from coe.testing._collect import Collected, collect, events
from coe.testing._make import chat, context, pool_view
from coe.testing._plugin import build, create, load
from coe.testing.upstream import Answer, FakeUpstream, Fault, Framing, Received

__all__ = [
    "Answer",
    "Clock",
    "Collected",
    "FakeUpstream",
    "Fault",
    "Framing",
    "Received",
    "build",
    "chat",
    "collect",
    "context",
    "create",
    "events",
    "load",
    "pool_view",
]
