"""The C interface, typed, and loaded once."""

from __future__ import annotations

import ctypes
import functools
from enum import IntEnum
from typing import Any

from coe.errors import PluginError
from coe_kernels.cpu._build import build, compiler
from coe_kernels.settings import compiler_name


class Isa(IntEnum):
    """Instruction sets. All but the first do bfloat16 only."""

    PORTABLE = 0
    AVX512 = 1
    AVX512_BF16 = 2
    AMX = 3


class Type(IntEnum):
    """Element types of weights and activations."""

    FLOAT32 = 0
    BFLOAT16 = 1
    FLOAT16 = 2


_I64, _INT, _POINTER = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p


class Library:
    """The built kernels. Addresses are those of contiguous buffers; the callers check what lies there."""

    def __init__(self, path: str) -> None:
        self.path = path
        # Its OpenMP is the process's: torch's, where torch was imported before.
        self._c: Any = ctypes.CDLL(path)
        self._c.coe_packed_size.restype = _I64
        self._c.coe_packed_size.argtypes = [_I64, _I64, _I64, _INT]
        self._c.coe_pack.restype = None
        self._c.coe_pack.argtypes = [_POINTER, _I64, _I64, _I64, _INT, _INT, _POINTER, _INT]
        self._c.coe_packed_int8_bytes.restype = _I64
        self._c.coe_packed_int8_bytes.argtypes = [_I64] * 3
        self._c.coe_pack_int8.restype = None
        self._c.coe_pack_int8.argtypes = [_POINTER, _I64, _I64, _I64, _INT, _POINTER, _INT]
        self._c.coe_fused_moe.argtypes = [_POINTER] * 6 + [_I64] * 5 + [_INT] * 3 + [_POINTER, _INT]
        self._c.coe_read.restype = ctypes.c_uint64
        self._c.coe_read.argtypes = [_POINTER, _I64]
        found = self._c.coe_isas()
        self.isas = tuple(isa for isa in Isa if found >> isa & 1)
        self.fastest = fastest(self.isas, intel=bool(self._c.coe_is_intel()))

    def packed_size(self, experts: int, rows: int, k: int, *, interleaved: bool) -> int:
        """Elements of a packed matrix [experts, rows, k]; `interleaved` for w13."""
        return int(self._c.coe_packed_size(experts, rows, k, interleaved))

    def pack(
        self,
        plain: int,
        experts: int,
        rows: int,
        k: int,
        type_: Type,
        packed: int,
        threads: int,
        *,
        interleaved: bool,
    ) -> None:
        """Packs [experts, rows, k] at address `plain` to address `packed`, which may not overlap."""
        self._c.coe_pack(plain, experts, rows, k, type_, interleaved, packed, threads)

    def packed_int8_bytes(self, experts: int, rows: int, k: int) -> int:
        """Bytes of a packed [experts, rows, k] of 8-bit weights; `rows` and `k` are multiples of 32."""
        return int(self._c.coe_packed_int8_bytes(experts, rows, k))

    def pack_int8(
        self, plain: int, experts: int, rows: int, k: int, packed: int, threads: int, *, interleaved: bool
    ) -> None:
        """Quantises bfloat16 [experts, rows, k], as `pack`: a scale for each 16 of k in a row."""
        self._c.coe_pack_int8(plain, experts, rows, k, interleaved, packed, threads)

    def read(self, address: int, words: int) -> int:
        """Reads so many 64-bit words as fast as one thread can; what it returns only says that it did."""
        return int(self._c.coe_read(address, words))

    def fused_moe(
        self,
        addresses: tuple[int, ...],
        sizes: tuple[int, ...],
        type_: Type,
        isa: Isa,
        threads: int,
        histogram: int | None = None,
        *,
        int8: bool = False,
    ) -> None:
        """The layer.

        Args:
            addresses: of out, x, packed w13, packed w2, int32 ids, float32 weights.
            sizes: tokens, hidden, intermediate, experts, top_k.
            type_: of weights and activations.
            isa: to use.
            threads: to use.
            histogram: address of int64[experts], to which each expert's uses are added.
            int8: the weights are of 8 bits; activations are bfloat16, sizes multiples of 32.

        Raises:
            PluginError: this CPU or build lacks `isa` for the type.
            MemoryError: there is none for the intermediate results.
        """
        code = self._c.coe_fused_moe(*addresses, *sizes, type_, isa, threads, histogram, int8)
        if code == 1:
            raise PluginError(f"this CPU or build has no {isa.name} kernel for {type_.name}")
        if code:
            raise MemoryError("no memory for the intermediate results of a mixture-of-experts layer")


def fastest(isas: tuple[Isa, ...], *, intel: bool) -> Isa:
    """Which of a machine's instruction sets is the fastest for bfloat16.

    Intel's CPUs do their AVX-512 bfloat16 dot product at half the rate of float32's multiply-add (measured 67
    against 126 GFLOP/s on Sapphire Rapids); AMD's at twice.
    """
    if intel and Isa.AMX not in isas and Isa.AVX512 in isas:
        return Isa.AVX512
    return max(isas)


@functools.cache
def library() -> Library:
    """The kernels, built at first use by the compiler that CXX names or the path has.

    Raises:
        PluginError: they cannot be built or loaded; says why.
    """
    path = build(compiler(compiler_name()))
    try:
        return Library(str(path))
    except OSError as error:
        raise PluginError(f"the built CPU kernels do not load: {error}") from error
