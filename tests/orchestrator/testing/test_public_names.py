"""What authors import is pinned: a name that goes breaks their tests."""

import subprocess
import sys

import coe.testing
import coe.testing.conformance
import coe.testing.upstream


def test_exported_names() -> None:
    assert coe.testing.__all__ == [
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
    assert coe.testing.conformance.__all__ == [
        "CacheConformance",
        "EmbedderConformance",
        "ExpertConformance",
        "RewardConformance",
        "RouterConformance",
    ]
    assert coe.testing.upstream.__all__ == ["Answer", "FakeUpstream", "Fault", "Framing", "Received"]


def test_only_the_kit_needs_pytest() -> None:
    program = "import sys, coe.testing; print('pytest' in sys.modules, 'numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]
