"""PSFEx for `make bench`: that of the PATH, or Debian's package unpacked into a folder.

PSFEx is no Python package. No root is needed: `apt-get download` and `dpkg --extract`.

    python tests/bench/psf/get_psfex.py .venv-bench-psf/psfex
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ADVICE = (
    "install PSFEx (apt install psfex, or conda install -c conda-forge astromatic-psfex) so that "
    "`psfex` is on the PATH, or leave it out: make bench CODES='ours piff photutils'."
)


def find_psfex(folder: Path) -> tuple[str, dict[str, str]] | None:
    """The program and the environment it runs in, or None."""
    program = folder / "usr" / "bin" / "psfex"
    if program.exists():
        return str(program), {**os.environ, **variables(folder / "usr")}
    on_path = shutil.which("psfex")
    return (on_path, dict(os.environ)) if on_path else None


def variables(root: Path) -> dict[str, str]:
    """Where the unpacked program finds its libraries, and those the drivers of their plots."""
    libraries = {str(path.parent) for path in (root / "lib").rglob("*.so*")}
    paths = [*sorted(libraries), os.environ.get("LD_LIBRARY_PATH", "")]
    found = {"LD_LIBRARY_PATH": ":".join(filter(None, paths))}
    folders = {"PLPLOT_DRV_DIR": "lib/**/plplot*/drivers", "PLPLOT_LIB": "share/plplot*"}
    for name, pattern in folders.items():
        found[name] = ":".join(str(path) for path in root.glob(pattern))
    return found


def call(*command: str, folder: Path | None = None) -> str:
    try:
        return subprocess.run(
            command, check=True, cwd=folder, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        sys.exit(f"Error: there is no {command[0]} here; {ADVICE}")
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["nothing"])[-1]
        sys.exit(f"Error: `{' '.join(command[:2])}` says: {said}; {ADVICE}")


def unpack(folder: Path) -> None:
    """Debian's psfex and every library that this machine lacks."""
    plan = call("apt-get", "install", "--simulate", "--no-install-recommends", "psfex")
    packages = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    downloads = folder / "packages"
    downloads.mkdir(parents=True, exist_ok=True)
    call("apt-get", "download", *packages, folder=downloads)
    for package in downloads.glob("*.deb"):
        call("dpkg", "--extract", str(package), str(folder))


def main(folder: Path) -> None:
    if find_psfex(folder) is None:
        unpack(folder)
    program, environment = find_psfex(folder)
    done = subprocess.run(
        [program, "--version"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"Error: {program} does not start ({done.stderr.strip()}); {ADVICE}")
    print(f"{done.stdout.strip()}: {program}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
