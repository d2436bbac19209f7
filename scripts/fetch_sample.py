"""Rule fetch_sample: a real ZTF image and its mask, out of the source distribution of ztfimg."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from ztfpsf.errors import InputError
from ztfpsf.io import atomic_path
from ztfpsf.jobs import job, logger

SOURCE = "ztfimg-0.19.0"
REQUIREMENT = (
    "ztfimg==0.19.0 --hash=sha256:783003da997eeeb27b38445598b9a2519a50021eb6fc5665706e66de70ff9804"
)
SCIIMG_SHA256 = "0884728fcf98cb81c95961987c940069b00fe496552030f7610f6d6390b4dee4"
MSKIMG_SHA256 = "dd636f16779a9aaadfab035243dadbed686ebaae8ffac157a60f5e30916ba8f2"


def fetch_sample(*, path_to_sciimg: str, path_to_mskimg: str) -> None:
    """Fetch the image ztf_20200924431759_000655_zr_c13_o_q3 (31 MB) and check its sha256.

    Raises InputError when there is no connection, or other bytes than expected come.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = download_source(Path(folder))
        for path, sha256 in ((path_to_sciimg, SCIIMG_SHA256), (path_to_mskimg, MSKIMG_SHA256)):
            extract_member(archive, f"{SOURCE}/ztfimg/data/{Path(path).name}", path, sha256)


def download_source(folder: Path) -> Path:
    """Let pip download the source distribution from the package index that it is set up for.

    pip compares the hash before it looks inside; it then runs the package's setup.py to read its
    metadata, with the setuptools that is installed, and installs nothing.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(REQUIREMENT + "\n")
    options = ("--no-deps", "--no-binary=:all:", "--no-build-isolation", "--require-hashes")
    command = [sys.executable, "-m", "pip", "download", *options]
    files = [f"--requirement={requirements}", f"--dest={folder}"]
    pip = subprocess.run(command + files, capture_output=True, text=True, check=False)
    archive = folder / f"{SOURCE}.tar.gz"
    if pip.returncode or not archive.exists():
        logger.info("%s%s", pip.stdout, pip.stderr)
        raise InputError(
            f"The sample image could not be fetched, because pip cannot download {SOURCE} "
            f"({reason(pip.stderr)}): connect to a package index, or list files of your own in "
            "the image sheet."
        )
    return archive


def reason(messages: str) -> str:
    """The last error in pip's messages."""
    errors = [line for line in messages.splitlines() if line.startswith("ERROR: ")]
    return errors[-1].removeprefix("ERROR: ").rstrip(". ") if errors else "no reason given"


def extract_member(archive: Path, member: str, path: str, sha256: str) -> None:
    """Write one file of a tar archive if it is the expected one."""
    with tarfile.open(archive) as tar:
        content = tar.extractfile(member).read()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(
            f"{member} of {archive.name} has the sha256 {found}, expected {sha256}: "
            "do not use it, and fetch it again."
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    logger.info("%s: %d bytes, sha256 as expected", path, len(content))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        fetch_sample(
            path_to_sciimg=snakemake.output.sciimg,
            path_to_mskimg=snakemake.output.mskimg,
        )
