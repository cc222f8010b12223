"""Configuration: one YAML file in, one frozen `Config` out."""

from coe.config._models import (
    BreakerConfig,
    CacheConfig,
    CardConfig,
    Config,
    ExpertConfig,
    PluginsConfig,
    PluginSettings,
    RouterConfig,
    ServerConfig,
)

__all__ = [
    "BreakerConfig",
    "CacheConfig",
    "CardConfig",
    "Config",
    "ExpertConfig",
    "PluginSettings",
    "PluginsConfig",
    "RouterConfig",
    "ServerConfig",
]
