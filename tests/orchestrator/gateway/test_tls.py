"""https, and another certificate without a restart."""

from __future__ import annotations

import shutil
import ssl
import subprocess
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
    subprocess.run([*new, *told], check=True, capture_output=True)
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
