"""Seconds of a computation with and without JAX's compilation."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jax


@dataclass
class Clock:
    """Seconds spent inside `compile_clock`."""

    total_s: float = 0.0
    compile_s: float = 0.0

    @property
    def run_s(self) -> float:
        return self.total_s - self.compile_s


@contextmanager
def compile_clock() -> Iterator[Clock]:
    """Measure the block; JAX reports its tracing, lowering and compiling as events of a thread."""
    clock, mine = Clock(), threading.get_ident()

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event.startswith("/jax/core/compile/") and threading.get_ident() == mine:
            clock.compile_s += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    try:
        yield clock
    finally:
        clock.total_s = time.perf_counter() - start
        jax.monitoring.unregister_event_duration_listener(listen)
