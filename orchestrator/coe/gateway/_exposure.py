"""Who can reach the gateway, and whether that is meant."""

from __future__ import annotations

from ipaddress import ip_address

from coe.config import Config
from coe.errors import ConfigError


def refuse_open(config: Config) -> None:
    """Refuse to answer other machines without asking for keys, unless the configuration says so.

    Raises:
        ConfigError: it listens on an address that other machines may reach, and names no keys file.
    """
    server = config.server
    if config.tenants.keys_file is not None or server.allow_open or _only_this_machine(server.host):
        return
    raise ConfigError(
        f"{server.host} may be reached from other machines, and no API key is asked for.",
        hint="Make a key with `coe keys create` and set `tenants.keys_file`; or say --allow-open if "
        "everybody who can reach it may use it.",
    )


def _only_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
