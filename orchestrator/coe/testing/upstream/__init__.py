"""A fake OpenAI-compatible server with faults, for tests. See `FakeUpstream`."""

from coe.testing.upstream._answers import Answer
from coe.testing.upstream._connection import Received
from coe.testing.upstream._fault import Fault, Framing
from coe.testing.upstream._server import FakeUpstream

__all__ = ["Answer", "FakeUpstream", "Fault", "Framing", "Received"]
