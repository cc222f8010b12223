"""https, and another certificate without a restart."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from coe.config import TlsConfig, loads
from coe.errors import ConfigError
from coe.gateway._tls import tls_context

if TYPE_CHECKING:
    from conftest import Running, Start

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def certificate(folder: Path, name: str) -> TlsConfig:
    """A certificate for `name` that signs itself."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    told = ["-subj", f"/CN={name}", "-days", "1", "-out", str(cert), "-keyout", str(key)]
    here = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*new, *told, *here], check=True, capture_output=True)
    return TlsConfig(cert=cert, key=key)


def text(tls: TlsConfig) -> str:
    return (
        "experts: {a: {kind: echo}}\nrouters: {auto: {kind: first}}\n"
        f"server: {{tls: {{cert: '{tls.cert}', key: '{tls.key}'}}}}\n"
    )


def served(gateway: Running) -> str:
    """The certificate that new connections are shown, as PEM."""
    url = urlsplit(gateway.url)
    return ssl.get_server_certificate((url.hostname or "", url.port or 0), timeout=20)


@needs_openssl
def test_https_and_a_new_certificate_while_it_serves(start: Start, tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "first"), certificate(tmp_path, "second")
    gateway = start(text(first))
    assert gateway.url.startswith("https://")
    assert gateway.chat("hello").status_code == 200
    assert served(gateway) == first.cert.read_text()
    gateway.server.renew(loads(text(second), {}))
    assert served(gateway) == second.cert.read_text()
    second.cert.unlink()
    gateway.server.renew(loads(text(second), {}))  # told in the log; what was there stays
    assert gateway.chat("hello").status_code == 200


@needs_openssl
def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "first"), certificate(tmp_path, "second")
    with pytest.raises(ConfigError, match=r"server\.tls\.cert: .*gone\.pem cannot be read"):
        tls_context(TlsConfig(cert=tmp_path / "gone.pem", key=first.key), tmp_path)
    with pytest.raises(ConfigError, match="are no certificate and its key"):
        tls_context(TlsConfig(cert=first.cert, key=second.key), tmp_path)
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigError, match="are no certificate and its key"):
        tls_context(TlsConfig(cert=tmp_path / "empty", key=second.key), tmp_path)


@needs_openssl
def test_an_https_server_is_asked_when_somebody_trusted_vouches_for_it(start: Start, tmp_path: Path) -> None:
    own, other = certificate(tmp_path, "own"), certificate(tmp_path, "other")
    upstream = start(text(own))
    expert = f"kind: openai, base_url: '{upstream.url}/v1', model: a"
    probe = "probe: {interval_s: 0.05, path: /health/live}"
    gateway = start(
        f"experts: {{a: {{{expert}, ca_file: '{own.cert}', {probe}}}}}\nrouters: {{auto: {{kind: first}}}}\n"
    )
    for _ in range(3):
        assert gateway.chat("hello").json()["choices"][0]["message"]["content"] == "hello"
    assert "[DONE]" in gateway.chat("hello", stream=True).text
    until(lambda: gateway.client.get("/health/ready").json()["experts"]["a"]["probe"] == "ok")
    for trusted in ("", f", ca_file: '{other.cert}'"):
        stranger = start(f"experts: {{a: {{{expert}{trusted}}}}}\nrouters: {{auto: {{kind: first}}}}\n")
        refused = stranger.chat("hello")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "expert_unavailable")
    with pytest.raises(ConfigError, match=r"experts\.a\.ca_file: .*own\.key cannot be used"):
        start(f"experts: {{a: {{{expert}, ca_file: '{own.key}'}}}}\nrouters: {{auto: {{kind: first}}}}\n")


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)
