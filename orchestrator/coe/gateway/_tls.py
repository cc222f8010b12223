"""TLS for the gateway's own address."""

from __future__ import annotations

import ssl
from pathlib import Path

from coe.config import TlsConfig
from coe.errors import ConfigError


def tls_context(tls: TlsConfig, base_dir: Path) -> ssl.SSLContext:
    """A context that serves the certificate, TLS 1.2 or newer. Raises `ConfigError` naming the file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, tls, base_dir)
    return context


def load_certificate(context: ssl.SSLContext, tls: TlsConfig, base_dir: Path) -> None:
    """Use this certificate for connections to come. Raises `ConfigError` naming the file."""
    cert, key = base_dir / tls.cert.expanduser(), base_dir / tls.key.expanduser()
    for name, path in (("cert", cert), ("key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"server.tls.{name}: {path} cannot be read: {error.strerror}.") from error
    try:
        # An encrypted key would ask for its password at the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"server.tls: {cert} and {key} are no certificate and its key.") from error
