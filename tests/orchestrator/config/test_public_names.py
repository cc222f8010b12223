"""What coe.config exports."""

from __future__ import annotations

import coe.config


def test_exported_names() -> None:
    assert sorted(coe.config.__all__) == [
        "BreakerConfig",
        "BudgetConfig",
        "CacheConfig",
        "CardConfig",
        "Config",
        "ConfigSource",
        "EMBEDDED_TEXT",
        "ExpertConfig",
        "FILE_NAME",
        "InvalidConfig",
        "JournalConfig",
        "Origin",
        "Overrides",
        "PluginSettings",
        "PluginsConfig",
        "PolicyConfig",
        "ProbeConfig",
        "Problem",
        "RouterConfig",
        "ServerConfig",
        "StrongShareConfig",
        "TenantsConfig",
        "TlsConfig",
        "TracingConfig",
        "cache_dir",
        "changes",
        "check_plugins",
        "discover",
        "embedded_default",
        "find",
        "json_schema",
        "load",
        "loads",
    ]
