"""Configuration: one YAML file in, one frozen `Config` out."""

from coe.config._changes import changes
from coe.config._check import check_plugins
from coe.config._discover import FILE_NAME, discover, find
from coe.config._embedded import EMBEDDED_TEXT, embedded_default
from coe.config._journal import JournalConfig
from coe.config._load import load, loads
from coe.config._models import (
    BreakerConfig,
    CacheConfig,
    CardConfig,
    Config,
    ExpertConfig,
    Origin,
    PluginsConfig,
    PluginSettings,
    ProbeConfig,
    RouterConfig,
    ServerConfig,
    TlsConfig,
    TracingConfig,
)
from coe.config._paths import cache_dir
from coe.config._problems import InvalidConfig, Problem
from coe.config._schema import json_schema
from coe.config._source import ConfigSource, Overrides
from coe.config._tenants import BudgetConfig, PolicyConfig, StrongShareConfig, TenantsConfig

__all__ = [
    "EMBEDDED_TEXT",
    "FILE_NAME",
    "BreakerConfig",
    "BudgetConfig",
    "CacheConfig",
    "CardConfig",
    "Config",
    "ConfigSource",
    "ExpertConfig",
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
