"""A running Dask cluster in place of the devices of this process; needs the package distributed.

Each worker is one process with its own device; it must see the stamps under the same path.
"""

from concurrent.futures import Executor

from ztfpsf.errors import InputError


def connect(address: str) -> Executor:
    """The workers of a scheduler, e.g. tcp://node:8786. Raises InputError when none answers."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "config key dask_scheduler is set and the package distributed is not installed: "
            "pip install distributed in the environment, or set the key to null."
        ) from None
    try:
        client = Client(address, timeout="30s")
    except (OSError, ValueError) as error:
        raise InputError(
            f"config key dask_scheduler: no scheduler answers at '{address}' ({error}); start "
            "one (dask scheduler), or set the key to null."
        ) from None
    return client.get_executor(pure=False, retries=2)
