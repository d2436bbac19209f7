"""Rule fetch_sample, without its download."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from fetch_sample import SCIIMG_SHA256, download_source, extract_member, fetch_sample
from ztfpsf.errors import InputError

MEMBER = "ztfimg-0.19.0/ztfimg/data/a.fits"
CONTENT = b"SIMPLE  ="


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "source.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(MEMBER)
        member.size = len(CONTENT)
        tar.addfile(member, io.BytesIO(CONTENT))
    return path


def test_member_is_extracted(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.fits"
    extract_member(archive, MEMBER, str(path), hashlib.sha256(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT


def test_other_bytes_are_refused(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.fits"
    with pytest.raises(InputError, match=rf"{MEMBER} of source\.tar\.gz has the sha256"):
        extract_member(archive, MEMBER, str(path), SCIIMG_SHA256)
    assert not path.exists()


def test_no_connection_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(InputError, match="connect to a package index, or list files of your own"):
        fetch_sample(path_to_sciimg=str(tmp_path / "a"), path_to_mskimg=str(tmp_path / "b"))
    assert list(tmp_path.iterdir()) == []


def test_archive_of_another_content_is_refused_by_pip(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    archive.rename(shelf / "ztfimg-0.19.0.tar.gz")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    with pytest.raises(InputError, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        download_source(tmp_path)
