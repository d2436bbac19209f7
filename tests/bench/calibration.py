"""`make bench-calibration`: time, memory and pixels beside ztfimg 0.19.0 and ztfin2p3 0.4.1.

Every step is a process of its own, on the same simulated frames; CPU seconds and peak memory are
those that the operating system counted for it.

    python tests/bench/calibration.py results/simulate_raw .venv-bench/bin/python results/bench
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

HERE = Path(__file__).parent
STEPS = ("bias", "flat", "science")
REPEATS = 2
MAD_TO_SIGMA = 1.4826
# Quadrants in ztfimg's mosaic of a CCD: rows from the South, columns from the West; stored arrays
# run the other way on both axes.
HALVES = {1: (1, 1), 2: (1, 0), 3: (0, 0), 4: (0, 1)}


def list_frames(night: Path) -> dict:
    """Paths of the frames of the first CCD by step, flats by LED."""
    with open(night / "frames.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["ccdid"] == rows[0]["ccdid"]]

    def paths(kind: str, led: str = "") -> list[str]:
        return [str(night / r["path"]) for r in rows if (r["kind"], r["led"]) == (kind, led)]

    leds = sorted({row["led"] for row in rows if row["kind"] == "f"}, key=int)
    flats = {led: paths("f", led) for led in leds}
    return {"bias": paths("b"), "flat": flats, "science": paths("o")}


def count(frames: Mapping, step: str) -> int:
    chosen = frames["bias" if step == "floor" else step]
    return sum(map(len, chosen.values())) if isinstance(chosen, Mapping) else len(chosen)


def run(python: str, script: str, step: str, frames: Path, folder: Path) -> dict[str, float]:
    """Least CPU seconds of some runs in a process of its own, and the peak memory."""
    command = [python, str(HERE / script), step, str(frames), str(folder)]
    # ztfquery makes its tree of data where this variable says.
    environment = {**os.environ, "ZTFDATA": str(folder / "ztfdata"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(HERE.parents[1] / "scripts")
    Path(environment["ZTFDATA"]).mkdir(exist_ok=True)
    records = []
    for _ in range(REPEATS):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"Error: {' '.join(command)} failed; its message is above.")
        record = json.loads(text.splitlines()[-1])
        cpu = usage.ru_utime + usage.ru_stime
        records.append({**record, "process_cpu_s": cpu, "memory_mb": usage.ru_maxrss / 1e3})
    best = min(records, key=lambda record: record["work_cpu_s"])
    return {**best, "memory_mb": max(record["memory_mb"] for record in records)}


def time_table(frames: Mapping, runs: Mapping[str, Mapping[str, dict[str, float]]]) -> str:
    floor = runs["ours"]["floor"]["work_cpu_s"] / count(frames, "floor")
    head = (
        "step",
        "frames",
        "here (CPU s/frame)",
        "ztfin2p3",
        "times faster",
        "with start-up",
        "floor (CPU s/frame)",
        "here (MB)",
        "ztfin2p3",
        "part of the memory",
    )
    rows = []
    for step in STEPS:
        ours, theirs, n = runs["ours"][step], runs["upstream"][step], count(frames, step)
        rows.append(
            (
                step,
                n,
                f"{ours['work_cpu_s'] / n:.2f}",
                f"{theirs['work_cpu_s'] / n:.2f}",
                f"{theirs['work_cpu_s'] / ours['work_cpu_s']:.1f}",
                f"{theirs['process_cpu_s'] / ours['process_cpu_s']:.1f}",
                f"{floor:.2f}",
                f"{ours['memory_mb']:.0f}",
                f"{theirs['memory_mb']:.0f}",
                f"{ours['memory_mb'] / theirs['memory_mb']:.2f}",
            )
        )
    return markdown([head, *rows])


def markdown(rows: Sequence[Sequence]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def cell(mosaic: np.ndarray, qid: int) -> np.ndarray:
    """A quadrant of ztfimg's mosaic in stored order."""
    ny, nx = mosaic.shape[0] // 2, mosaic.shape[1] // 2
    row, column = HALVES[qid]
    part = mosaic[row * ny : (row + 1) * ny, column * nx : (column + 1) * nx]
    return part[::-1, ::-1]


def read_products(folder: Path, qid: int) -> dict[str, np.ndarray]:
    """Bias, flat and science image of a quadrant, float64, by this workflow or the other."""
    if (folder / "q1_mskimg.fits").exists():
        with fits.open(folder / "bias.fits") as bias, fits.open(folder / "flat.fits") as flat:
            masters = {"bias": bias[f"Q{qid}"].data, "flat": flat[f"Q{qid}"].data}
    else:
        masters = {kind: cell(fits.getdata(folder / f"{kind}.fits"), qid) for kind in STEPS[:2]}
    science = fits.getdata(folder / f"q{qid}_sciimg.fits")
    products = {**masters, "science": science}
    return {kind: np.asarray(data, float) for kind, data in products.items()}


def read_truth(night: Path, exposure: Path, qid: int) -> dict[str, np.ndarray]:
    """True bias, flat and noiseless image of a quadrant, NaN where pixels are bad or hit."""
    name = exposure.name.removesuffix(".fits.fz")
    day, ccd = name.split("_")[1][:8], name.split("_")[4]
    with fits.open(night / "truth" / f"ztf_{day}_{ccd}_q{qid}_detector.fits") as hdus:
        bias, flat, bad = (np.asarray(hdus[key].data, float) for key in ("BIAS", "FLAT", "BAD"))
    with fits.open(night / "truth" / f"{name}_q{qid}_truth.fits") as hdus:
        noiseless, affected = (
            np.asarray(hdus[key].data, float) for key in ("NOISELESS", "AFFECTED")
        )
    bad, affected = bad > 0, affected > 0
    return {
        "bias": np.where(bad, np.nan, bias),
        "flat": np.where(bad, np.nan, flat),
        "science": np.where(affected, np.nan, noiseless),
    }


def agreement_table(night: Path, exposure: Path, ours: Path, theirs: Path) -> str:
    head = (
        "quadrant",
        "product",
        "here - ztfin2p3: median",
        "scatter",
        "rms error here",
        "rms error ztfin2p3",
        "unit",
    )
    units = {"bias": "ADU", "flat": "relative", "science": "ADU"}
    rows = []
    for qid in (1, 2, 3, 4):
        truth = read_truth(night, exposure, qid)
        mine, other = read_products(ours, qid), read_products(theirs, qid)
        for kind, unit in units.items():
            difference = mine[kind] - other[kind]
            rows.append(
                (
                    f"q{qid}",
                    kind,
                    f"{np.nanmedian(difference):+.5f}",
                    f"{scatter(difference):.5f}",
                    f"{error(mine[kind], truth[kind], kind):.5f}",
                    f"{error(other[kind], truth[kind], kind):.5f}",
                    unit,
                )
            )
    return markdown([head, *rows])


def scatter(values: np.ndarray) -> float:
    """1.4826 median absolute deviation."""
    return float(MAD_TO_SIGMA * np.nanmedian(np.abs(values - np.nanmedian(values))))


def error(data: np.ndarray, truth: np.ndarray, kind: str) -> float:
    """rms about the truth over its good pixels; of a flat, relative and but for a factor."""
    residual = data / truth / np.nanmedian(data / truth) - 1 if kind == "flat" else data - truth
    return float(np.sqrt(np.nanmean(residual**2)))


def bench(night: Path, upstream_python: str, folder: Path) -> str:
    """Run both sides; returns the report in Markdown."""
    folders = {"ours": folder / "ours", "upstream": folder / "upstream"}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    frames = list_frames(night)
    frame_list = folder / "frames.json"
    frame_list.write_text(json.dumps(frames, indent=2))
    runs: dict[str, dict[str, dict[str, float]]] = {"ours": {}, "upstream": {}}
    runs["ours"]["floor"] = run(sys.executable, "ours.py", "floor", frame_list, folders["ours"])
    for step in STEPS:
        for side, python in (("ours", sys.executable), ("upstream", upstream_python)):
            print(f"{step}, {side}", file=sys.stderr, flush=True)
            runs[side][step] = run(python, f"{side}.py", step, frame_list, folders[side])
    (folder / "runs.json").write_text(json.dumps(runs, indent=2))
    science = Path(frames["science"][0])
    parts = [
        "# Calibration of one CCD beside ztfimg 0.19.0 + ztfin2p3 0.4.1",
        f"CPU seconds of the work, least of {REPEATS} runs; with start-up, those of the whole "
        "process. Peak memory of the process. Floor: decode the frame and pass over its pixels "
        "once.",
        time_table(frames, runs),
        "Same frames, pixel by pixel. Errors are about the truth of the simulation, bad and hit "
        "pixels left out; the noise of the frames is in them.",
        agreement_table(night, science, folders["ours"], folders["upstream"]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    report = bench(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    (Path(sys.argv[3]) / "calibration.md").write_text(report)
    print(report)
