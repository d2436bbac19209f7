"""`make bench`: our PSFs beside those of PSFEx, Piff and photutils, on the same stars.

Each code runs in a process of its own, one after the other; its fit alone is timed. All are judged
by judge.py. Most of the time is Piff's. Figures are
kept, so that a run of some sets or codes replaces their rows only; docs/numbers.md is written when
no row is missing.

    python tests/bench/psf/bench.py .venv-bench-psf/bin/python results/bench_psf [--sets S ...]
        [--codes C ...]
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from get_psfex import main as get_psfex
from judge import draw_truth, judge
from report import make_table, replace_part
from star_sets import ROOT, SETS, Stars, make_stamps, read_stars, write_request
from ztfpsf.errors import InputError

HERE = Path(__file__).parent
OURS = ("moffat", "moffat_grid")
CODES = ("ours", "psfex", "piff", "photutils")
PEERS = {
    "kolmogorov": (("psfex", "degree2"), ("piff", "pixelgrid"), ("photutils", "epsf")),
    "moffat": (("psfex", "degree2"), ("piff", "moffat"), ("photutils", "epsf")),
    "optics": (("psfex", "degree2"), ("piff", "pixelgrid"), ("photutils", "epsf")),
    "sparse": (("psfex", "degree1"), ("piff", "constant_pixelgrid"), ("photutils", "epsf")),
    "sample": (("psfex", "degree1"), ("piff", "fine_pixelgrid"), ("photutils", "epsf")),
}
LABELS = {
    ("truth", ""): "the true PSF",
    ("psfex", "degree1"): "PSFEx, 0.6 px, degree 1",
    ("psfex", "degree2"): "PSFEx, 0.5 px, degree 2",
    ("piff", "pixelgrid"): "Piff PixelGrid, 0.7 px, degree 2",
    ("piff", "constant_pixelgrid"): "Piff PixelGrid, 0.7 px, constant",
    ("piff", "fine_pixelgrid"): "Piff PixelGrid, 0.5 px, degree 1",
    ("piff", "moffat"): "Piff Moffat (alpha given), degree 1",
    ("photutils", "epsf"): "photutils EPSFBuilder, 0.25 px, constant",
}


class Entry(NamedTuple):
    """One row of one table."""

    set_name: str
    code: str
    method: str

    @property
    def label(self) -> str:
        return LABELS.get((self.code, self.method), f"**ztfpsf `{self.method}`**")

    def path(self, folder: Path, suffix: str) -> Path:
        name = "_".join(filter(None, (self.set_name, self.code, self.method)))
        return folder / "figures" / f"{name}{suffix}"


def entries(set_name: str) -> list[Entry]:
    """Rows of a set's table, in their order."""
    rows = [("ours", model) for model in OURS] + list(PEERS[set_name])
    if SETS[set_name].scene is not None:
        rows.append(("truth", ""))
    return [Entry(set_name, *row) for row in rows]


def draw(entry: Entry, python: str, request: Path, folder: Path) -> dict:
    """Run a code; returns what it wrote. Raises InputError when it fails."""
    out = entry.path(folder, ".npz")
    arguments = [entry.method]
    if entry.code == "ours":
        python = sys.executable
        arguments.append(f"{folder}/results/cut_stamps/{SETS[entry.set_name].name}_stamps.fits")
    script = HERE / f"run_{entry.code}.py"
    command = [python, str(script), *arguments, str(request), str(out)]
    environment = dict(os.environ)
    if entry.code == "ours":
        environment["PYTHONPATH"] = str(ROOT / "scripts")
    status = subprocess.run(command, check=False, env=environment).returncode
    if status:
        why = "its message is above" if status > 0 else f"signal {-status}: memory may be short"
        raise InputError(
            f"{entry.label} failed on the set {entry.set_name} ({why}); leave it out with "
            f"CODES='{' '.join(code for code in CODES if code != entry.code)}'."
        )
    with np.load(out) as drawn:
        return {key: drawn[key] for key in drawn.files}


def measure(entry: Entry, python: str, stars: Stars, request: Path, folder: Path) -> None:
    """Run and judge one code; keep its figures."""
    print(f"{entry.set_name}: {entry.label}", file=sys.stderr, flush=True)
    if entry.code == "truth":
        drawn = {"images": draw_truth(stars.truth, stars.positions)}
    else:
        drawn = draw(entry, python, request, folder)
    figures = judge(drawn["images"], stars)
    for name in ("seconds", "cold_s"):
        if name in drawn:
            figures[name] = float(drawn[name])
    figures["code"] = str(drawn.get("code", ""))
    figures["n_fitted"] = int((~stars.stamps.stars["is_reserved"]).sum())
    figures["n_reserved"] = int(stars.reserved.sum())
    entry.path(folder, ".json").write_text(json.dumps(figures, indent=2))
    entry.path(folder, ".npz").unlink(missing_ok=True)


def run_set(name: str, codes: list[str], python: str, folder: Path) -> Iterator[str]:
    """Measure the codes on a set; a sentence for each that fails, whose old figures go."""
    stars = read_stars(SETS[name], folder)
    request = write_request(stars, SETS[name], folder)
    for entry in entries(name):
        if entry.code in (*codes, "truth"):
            entry.path(folder, ".json").unlink(missing_ok=True)
            try:
                measure(entry, python, stars, request, folder)
            except InputError as error:
                yield str(error)


def make_report(folder: Path) -> tuple[str, bool]:
    """All tables of the figures there are, and whether none is missing."""
    parts, versions, is_complete = [], [], True
    for name, data_set in SETS.items():
        rows = {}
        for entry in entries(name):
            path = entry.path(folder, ".json")
            if path.exists():
                rows[entry.label] = json.loads(path.read_text())
            is_complete &= path.exists()
        if rows:
            first = next(iter(rows.values()))
            counts = f"{first['n_fitted']} stars fitted, {first['n_reserved']} reserved"
            parts.append(f"{data_set.title} ({counts}):\n\n{make_table(rows)}")
            versions += [figures["code"] for figures in rows.values()]
    named = ", ".join(dict.fromkeys(filter(None, versions)))
    return "\n".join([f"{named}; {os.cpu_count()} cores.\n", *parts]), is_complete


def choose(words: list[str], known: tuple[str, ...], name: str) -> list[str]:
    for word in words:
        if word not in known:
            sys.exit(f"Error: there is no '{word}' in {name}; choose from {', '.join(known)}.")
    return words or list(known)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--codes", nargs="*", default=[])
    given = parser.parse_args()
    sets = choose(given.sets, tuple(SETS), "SETS")
    codes = choose(given.codes, CODES, "CODES")
    folder, python = given.folder.resolve(), os.path.abspath(given.python)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    if "psfex" in codes:
        get_psfex(Path(python).parents[1] / "psfex")
    make_stamps(sets, folder)
    failures = [error for name in sets for error in run_set(name, codes, python, folder)]
    text, is_complete = make_report(folder)
    print(text)
    (folder / "psf.md").write_text(text)
    if is_complete:
        replace_part(ROOT / "docs" / "numbers.md", "make bench", text)
    if failures:
        sys.exit("\n".join(f"Error: {error}" for error in failures))


if __name__ == "__main__":
    main()
