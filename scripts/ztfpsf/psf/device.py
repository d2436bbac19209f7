"""The devices of the fits: double precision, and a compilation cache on disk."""

import hashlib
import os
import platform
from pathlib import Path

import jax
import scipy.linalg  # noqa: F401  # its own BLAS, which is limited only where it is loaded
import threadpoolctl

from ztfpsf.compile_cache import remove_damaged
from ztfpsf.errors import InputError

PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}
# XLA's older way to write the loops of a processor: compiled in half the time, and as fast.
OLDER_LOOPS = "--xla_cpu_use_fusion_emitters=false"

# Set by SLURM or the user where a job is handed GPUs.
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


def configure(device: str) -> str:
    """Choose `auto`, `gpu` or `cpu`; call it before the first computation. Returns its name.

    Raises InputError when a GPU is demanded, or handed to the job, and JAX finds none.
    """
    # A GPU may be shared with other jobs; JAX would take three quarters of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    flags = os.environ.get("XLA_FLAGS", "")
    if OLDER_LOOPS not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {OLDER_LOOPS}".strip()
    if device in PLATFORMS:
        jax.config.update("jax_platforms", PLATFORMS[device])
    jax.config.update("jax_enable_x64", True)
    # Its threads and those of XLA would take each other's cores: steps take 1.5 times as long.
    threadpoolctl.threadpool_limits(1, user_api="blas")
    try:
        found = jax.devices()[0]
    except (RuntimeError, AssertionError):
        # Without the CUDA plugin JAX fails an assertion, with it and no card it raises.
        raise InputError(
            f"config key device is '{device}' and JAX finds no such device on this machine: "
            "set it to auto or cpu, or run where there is one with the environment "
            "envs/cuda12.lock."
        ) from None
    handed = next((name for name in GPU_VARIABLES if is_gpu(os.environ.get(name, ""))), None)
    if device == "auto" and found.platform == "cpu" and handed:
        raise InputError(
            f"this job has a GPU ({handed}={os.environ[handed]}) and JAX finds none: install the "
            "environment envs/cuda12.lock (make env LOCK=cuda12), or set the config key device to "
            "cpu."
        )
    cache = _cache_directory(found.device_kind)
    remove_damaged(cache)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return " ".join(dict.fromkeys([found.platform, found.device_kind]))


def is_gpu(indices: str) -> bool:
    """Whether a list of visible GPUs names one."""
    return indices.strip() not in ("", "-1", "NoDevFiles", "void", "none")


def _cache_directory(device_kind: str) -> Path:
    """A directory of this user and kind of processor: compiled code is not portable."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    processor = device_kind + platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text("utf-8").splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    digest = hashlib.sha256(processor.encode()).hexdigest()[:12]
    return Path(root) / "ztfpsf" / f"jax-{digest}"
