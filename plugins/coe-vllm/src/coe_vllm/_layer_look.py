"""Asking a server now and then what its sparse layers did."""

from __future__ import annotations

import logging

from coe.contracts import SparseLayer
from coe_vllm._api import Refused, VllmApi
from coe_vllm._layers import EVERY_S

_log = logging.getLogger("coe.vllm")


class LayerLook:
    """The last answer of one server, and when to ask again.

    Attributes:
        counts: the last answer; empty before the first.
    """

    def __init__(self) -> None:
        self.counts: tuple[SparseLayer, ...] = ()
        self._due_s = 0.0
        self._said = False

    async def look(self, name: str, api: VllmApi, now_s: float) -> None:
        """Ask if it is time. A server that cannot tell is no worse for it: that is said once.

        Args:
            name: of the expert.
            api: of its server.
            now_s: monotonic seconds.
        """
        if now_s < self._due_s:
            return
        self._due_s = now_s + EVERY_S
        try:
            self.counts = await api.sparse_layers()
        except Refused as error:
            if not self._said:
                _log.warning("layers not counted: expert=%s why=%s (is coe-kernels there?)", name, error)
            self._said = True
