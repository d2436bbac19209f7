"""Install Chromium and its driver from Debian's packages."""

import sys

from browser import PACKAGES, missing_programs
from debian import install

if __name__ == "__main__":
    if missing_programs():
        install(PACKAGES, "Chromium", "The test of the report")
    if missing := missing_programs():
        sys.exit(f"{', '.join(missing)} are still missing after the installation of Chromium.")
