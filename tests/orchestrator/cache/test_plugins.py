"""The caches come through the same door as anyone's, and what they need is imported late."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

import coe.cache
from coe.cache import MemoryCache, RedisCache
from coe.errors import ConfigError
from coe.registry import Registry


def create(name, **settings):
    plugin = Registry().plugin("coe.caches", name)
    return plugin.create(name, plugin.settings(**settings), None)


def test_the_registry_finds_both():
    assert isinstance(create("memory", entries=5), MemoryCache)
    assert isinstance(create("redis", url="redis://host:1/0", timeout_ms=7), RedisCache)


def test_a_wrong_redis_url_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match="cannot be read"):
        create("redis", url="nonsense")


@pytest.mark.parametrize("settings", [{"url": ["redis://:s3cret@h"]}, {"url": "redis://:s3cret@h", "tll": 1}])
def test_wrong_settings_do_not_show_the_password(settings):
    with pytest.raises(ValidationError) as caught:
        create("redis", **settings)
    assert "s3cret" not in str(caught.value)


def test_settings_do_not_show_the_password():
    settings = coe.cache.redis().settings(url="redis://:s3cret@host")
    assert "s3cret" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_importing_the_package_and_keeping_in_memory_does_not_import_redis():
    program = "import coe.cache, sys; coe.cache.memory(); print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_the_public_names_are_these():
    assert sorted(coe.cache.__all__) == [
        "DecisionStore",
        "KEY_BYTES",
        "Lines",
        "MemoryCache",
        "RedisCache",
        "RedisStats",
        "Source",
        "StoreStats",
        "decision_key",
        "memory",
        "redis",
    ]
    assert all(hasattr(coe.cache, name) for name in coe.cache.__all__)
    assert not hasattr(coe.cache, "Redis")
