"""Install the programs of SLURM from Debian's packages, without starting or configuring one."""

import sys

from debian import install
from private_slurm import PACKAGES, missing_programs

if __name__ == "__main__":
    if missing_programs():
        install(PACKAGES, "SLURM", "The tests on a cluster")
    if missing := missing_programs():
        sys.exit(f"{', '.join(missing)} are still missing after the installation of SLURM.")
