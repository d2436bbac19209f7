"""The device of the fits: double precision, and a compilation cache on disk."""

import hashlib
import os
import platform
from pathlib import Path

import jax

from ztfpsf.errors import InputError

PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}


def configure(device: str) -> str:
    """Choose `auto`, `gpu` or `cpu`; call it before the first computation. Returns its name.

    Raises InputError when a GPU is demanded and JAX finds none.
    """
    if device in PLATFORMS:
        jax.config.update("jax_platforms", PLATFORMS[device])
    jax.config.update("jax_enable_x64", True)
    try:
        found = jax.devices()[0]
    except (RuntimeError, AssertionError):
        # Without the CUDA plugin JAX fails an assertion, with it and no card it raises.
        raise InputError(
            f"config key device is '{device}' and JAX finds no such device on this machine: "
            "set it to auto or cpu, or run where there is one with the environment "
            "envs/cuda12.lock."
        ) from None
    jax.config.update("jax_compilation_cache_dir", str(_cache_directory(found.device_kind)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return " ".join(dict.fromkeys([found.platform, found.device_kind]))


def _cache_directory(device_kind: str) -> Path:
    """A directory of this user and kind of processor: compiled code is not portable."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    processor = device_kind + platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    digest = hashlib.sha256(processor.encode()).hexdigest()[:12]
    return Path(root) / "ztfpsf" / f"jax-{digest}"
