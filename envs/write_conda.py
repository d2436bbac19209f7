"""Write a conda environment from a lock of the package's own dependencies: `make lock`."""

import argparse
from pathlib import Path

HEAD = """\
# For sites that run Snakemake with --sdm conda: what the rules import, at the versions of
# {name}.lock and with its hashes. Written by `make lock`.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def to_conda(lock: str, name: str) -> str:
    """The environment in YAML; pip checks hashes in a list of packages as in a lock."""
    # Folded, the lines of a package are one: YAML reads their breaks as blanks.
    items = [
        f"        {line}" if line.startswith("--hash") else f"      - >-\n        {line}"
        for line in (line.removesuffix("\\").strip() for line in lock.splitlines())
    ]
    return "\n".join([HEAD.format(name=name).rstrip(), *items, ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the environment: cpu or cuda12")
    parser.add_argument("lock", type=Path)
    arguments = parser.parse_args()
    path = Path(__file__).with_name(f"{arguments.name}.yaml")
    path.write_text(to_conda(arguments.lock.read_text("utf-8"), arguments.name), "utf-8")
