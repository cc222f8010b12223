"""Compiles `coe_routers/native` with the package, where the machine has a C compiler.

Without one, or without Python's headers, the package is built all the same: numpy does the work then. For a
wheel that fits every machine, switch this off: `HATCH_BUILD_NO_HOOKS=1 pip wheel .`
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("routers", "coe_routers")
LIBRARY = "_native.abi3.so"
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-shared")


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled library to wheels; for an editable install it lies beside its source."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built; `version` is `editable` or `standard`."""
        folder = Path(self.root) / PACKAGE
        self.rough = tempfile.TemporaryDirectory(dir=folder if version == "editable" else None)
        built = Path(self.rough.name) / LIBRARY
        if (why := compiled(folder / "native", built)) is not None:
            self.app.display_warning(f"coe_routers is not compiled, numpy does its work: {why}")
            if version == "editable":
                # One of earlier sources.
                (folder / LIBRARY).unlink(missing_ok=True)
        elif version == "editable":
            # By one rename: a process that runs keeps what it has loaded.
            built.replace(folder / LIBRARY)
        else:
            build_data["force_include"][str(built)] = f"{PACKAGE.name}/{LIBRARY}"
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"cp311-abi3-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when the wheel is there."""
        self.rough.cleanup()


def compiled(sources: Path, target: Path) -> str | None:
    """Compile; returns why it cannot be done."""
    named = os.environ.get("CC")
    command = shlex.split(named) if named else next(filter(None, map(_found, ("cc", "gcc", "clang"))), None)
    if command is None:
        return "there is no C compiler"
    include = f"-I{sysconfig.get_path('include')}"
    try:
        done = subprocess.run(  # noqa: S603 - the user's compiler and our own file
            [*command, *FLAGS, include, *map(str, sorted(sources.glob("*.c"))), "-o", str(target), "-lm"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        return str(error)
    return f"{command[0]} failed: {done.stderr.strip()[:500]}" if done.returncode else None


def _found(name: str) -> list[str] | None:
    return [name] if shutil.which(name) else None
