"""`make bench-gpu`: whether a GPU computes right, and how fast, in less than 8 minutes.

Needs JAX for the device, NumPy, SciPy and pandas, for Adam optax, and runs from the source tree;
without a GPU it measures the processor. Writes one JSON and prints the tables of docs/numbers.md.

    PYTHONPATH=scripts:tests/bench/psf python tests/bench/gpu/bench_gpu.py figures.json [--short]
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax

jax.config.update("jax_enable_x64", True)

from correctness import Check, all_models, check_all  # noqa: E402
from rates import Rate, measure_rates  # noqa: E402
from report import markdown  # noqa: E402
from ztfpsf.psf.models import get_model  # noqa: E402
from ztfpsf.psf.optimisers import list_optimisers  # noqa: E402
from ztfpsf.psf.running.timing import Timing, time_all  # noqa: E402

T = TypeVar("T", Check, Rate, Timing)
# Adam is optax's, which a machine with little else than JAX may lack.
OPTIMISERS = tuple(name for name in list_optimisers() if name != "adam" or find_spec("optax"))


class Size(NamedTuple):
    """How much is measured."""

    models: tuple[str, ...]  # checked
    optimisers: tuple[str, ...]
    check_stars: int
    batched: int  # images of the check of many
    rated: tuple[tuple[str, int], ...]  # models whose rates are measured, and their stars
    chunks: tuple[int, ...]
    n_stars: tuple[int, ...]  # of the optimisers' table
    limit_s: float  # of an optimiser on a device


FULL = Size(
    tuple(all_models()),
    OPTIMISERS,
    60,
    64,
    (("moffat", 300), ("moffat_grid", 1000), ("moffat", 1000), ("moffat_grid", 300)),
    (1, 16, 64, 256),
    (10, 100, 473, 1000, 10000),
    8.0,
)
SHORT = Size(("gaussian",), ("gauss_newton",), 20, 4, (("gaussian", 20),), (1,), (10,), 2.0)
# Seconds from the start: what is not measured by then is left out.
RATES_UNTIL_S, UNTIL_S = 300.0, 450.0


def check_table(checks: list[Check]) -> str:
    rows = [["check", "largest difference", "limit", ""]]
    for one in checks:
        verdict = "passed" if one.is_passed else "**failed**"
        rows.append([one.name, f"{one.difference:.1e}", f"{one.limit:.0e}", verdict])
    return markdown(rows)


def rate_table(rates: list[Rate]) -> str:
    head = ["model", "stars", "chunk", "images / s", "optimiser (ms)", "/ floor", "memory (GB)"]
    rows = [head]
    for one in rates:
        ratio = one.optimiser_s / one.floor_s
        memory = "" if one.memory_gb is None else f"{one.memory_gb:.2g}"
        figures = [f"{one.images_s:.3g}", f"{1e3 * one.optimiser_s:.3g}", f"{ratio:.3g}", memory]
        rows.append([one.model, str(one.n_stars), str(one.chunk), *figures])
    return markdown(rows)


def optimiser_table(timings: list[Timing]) -> str:
    """Seconds of a fit, a row for each optimiser and device."""
    sizes = sorted({one.n_stars for one in timings})
    rows = [["optimiser", "device", *(f"{n} stars" for n in sizes)]]
    for name, device in dict.fromkeys((one.optimiser, one.device) for one in timings):
        found = {
            one.n_stars: f"{one.seconds:.3g}" if one.status == "ok" else ""
            for one in timings
            if (one.optimiser, one.device) == (name, device)
        }
        rows.append([name, device, *(found.get(n, "") for n in sizes)])
    return markdown(rows)


def tell(measured: Iterator[T], begin: float, until_s: float) -> list[T]:
    """What is measured until the time is up, told as it comes."""
    found = []
    for one in measured:
        elapsed_s = time.perf_counter() - begin
        print(f"{elapsed_s:4.0f} s {one}", flush=True)
        found.append(one)
        if elapsed_s > until_s:
            print("The time is up: nothing more of these. A second run finds the code compiled.")
            break
    return found


def main(path: Path, size: Size) -> int:
    """Returns 1 where a check failed, before anything is timed."""
    device, begin = jax.devices()[0], time.perf_counter()
    jax.config.update("jax_compilation_cache_dir", str(path.parent.absolute() / "cache"))
    print(f"JAX {jax.__version__}, {device.device_kind} ({device.platform})\n", flush=True)
    asked = (size.models, size.optimisers, size.check_stars, size.batched)
    checks = tell(check_all(device, *asked), begin, inf)
    figures = {
        "device": device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "checks": [one._asdict() for one in checks],
    }
    rates: list[Rate] = []
    timings: list[Timing] = []
    if is_right := all(one.is_passed for one in checks):
        measured = measure_rates(device, size.rated, size.chunks)
        rates = tell(measured, begin, RATES_UNTIL_S)
        settings = {"n_stars": size.n_stars, "size_px": 17, "degree": 0, "repeats": 3}
        settings["limit_s"] = size.limit_s
        options: dict[str, dict] = {name: {} for name in size.optimisers}
        timings = tell(time_all(options, get_model("moffat"), settings), begin, UNTIL_S)
    figures |= {
        "rates": [one._asdict() for one in rates],
        "optimisers": [one._asdict() for one in timings],
        "seconds": time.perf_counter() - begin,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1), "utf-8")
    print("", check_table(checks), rate_table(rates), optimiser_table(timings), sep="\n")
    return 0 if is_right else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="JSON file to write")
    parser.add_argument("--short", action="store_const", const=SHORT, default=FULL, dest="size")
    arguments = parser.parse_args()
    sys.exit(main(arguments.figures, arguments.size))
