"""Building the kernels once per source, compiler and machine, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from coe.errors import PluginError

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fopenmp")
VECTOR = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")
PARTS: Mapping[str, tuple[str, ...]] = {
    "driver": (),
    "portable": (),
    "int8": (),
    "avx512": VECTOR,
    "avx512_int8": VECTOR,
    "avx512_bf16": (*VECTOR, "-mavx512bf16"),
    "amx": (*VECTOR, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
}
"""The files, and flags beside FLAGS of those whose code runs only after a check of the CPU."""
COMPILE_S = 300
HINT = "install a C++ compiler (g++ or clang++), or name one by CXX"


def compiler(named: str | None) -> str:
    """The C++ compiler: the one named (CXX), else the first of g++, c++ and clang++ on the path.

    Raises:
        PluginError: there is none.
    """
    for name in [named] if named else ["g++", "c++", "clang++"]:
        if found := shutil.which(name):
            return found
    wanted = f"the C++ compiler {named}" if named else "a C++ compiler"
    raise PluginError(f"{wanted} was not found, so the CPU kernels cannot be built", hint=HINT)


def build(cxx: str, cache: Path | None = None) -> Path:
    """The library's path, built unless the same source was already built by the same compiler.

    A compiler that does not know an instruction set builds the rest: that file then holds nothing.

    Args:
        cxx: the compiler's path.
        cache: where libraries are kept; the user's cache if None.

    Raises:
        PluginError: the compiler fails; says how.
    """
    version = _run([cxx, "--version"]).stdout.splitlines()[:1]
    files = sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")])
    digest = hashlib.sha256(repr((version, FLAGS, PARTS, platform.machine())).encode())
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    folder = (cache or Path(platformdirs.user_cache_dir("coe")) / "kernels") / digest.hexdigest()[:16]
    library = folder / "libcoe_kernels.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Processes that start together may each build it: the last to rename wins, and all are the same.
        with tempfile.TemporaryDirectory(dir=folder) as rough:
            os.replace(_compile(cxx, Path(rough)), library)
    return library


def _compile(cxx: str, folder: Path) -> Path:
    objects: list[str] = []
    for part, special in PARTS.items():
        source, target = str(SOURCES / f"{part}.cpp"), str(folder / f"{part}.o")
        command = [cxx, *FLAGS, "-c", source, "-o", target]
        if not special or _run([*command, *special], may_fail=True).returncode:
            _run(command)
        objects.append(target)
    library = folder / "libcoe_kernels.so"
    _run([cxx, "-shared", "-fopenmp", *objects, "-o", str(library)])
    return library


def _run(command: list[str], *, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(  # noqa: S603 - a compiler and our own files
            command, capture_output=True, text=True, timeout=COMPILE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PluginError(f"the compiler does not run: {error}", hint=HINT) from error
    if done.returncode and not may_fail:
        said = done.stderr.strip().splitlines()[:3]
        raise PluginError(f"{' '.join(command[:2])} … failed: {' / '.join(said)}", hint=HINT)
    return done
