"""A GGUF model on this machine's CPU, served by llama.cpp in a supervised process beside the gateway."""

from coe.experts._local._expert import LocalExpert, create_local
from coe.experts._local._fetch import fetch_default_model
from coe.experts._local._settings import LocalSettings

__all__ = ["LocalExpert", "LocalSettings", "create_local", "fetch_default_model"]
