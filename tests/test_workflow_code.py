"""Hash of the code that a product depends on."""

from pathlib import Path

import pytest
from ztfpsf_workflow.code import hash_code, imported_modules

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A rule's script that imports a module, which imports one of a package, from within."""
    package = tmp_path / "ztfpsf"
    (package / "inner").mkdir(parents=True)
    (tmp_path / "draw.py").write_text("import numpy\nfrom ztfpsf.near import a\n")
    (package / "near.py").write_text("def a():\n    from ztfpsf.inner import deep\n    deep\n")
    for name in ("__init__", "far", "inner/__init__", "inner/deep", "inner/other"):
        (package / f"{name}.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("edited", "counts"),
    [
        ("draw", True),
        ("ztfpsf/__init__", True),
        ("ztfpsf/near", True),
        ("ztfpsf/inner/__init__", True),
        ("ztfpsf/inner/deep", True),
        ("ztfpsf/inner/other", False),
        ("ztfpsf/far", False),
    ],
)
def test_only_what_is_imported_counts(scripts: Path, edited: str, counts: bool) -> None:  # noqa: FBT001
    before = hash_code(scripts, "draw.py")
    file = scripts / f"{edited}.py"
    file.write_text(file.read_text() + "# edited\n")
    hash_code.cache_clear()
    imported_modules.cache_clear()
    assert (hash_code(scripts, "draw.py") != before) == counts


def test_imports_of_the_package_are_followed() -> None:
    package = SCRIPTS / "ztfpsf"
    found = imported_modules(SCRIPTS, package / "sheet.py")
    names = (
        "__init__.py",
        "csv_rows.py",
        "errors.py",
        "listing.py",
        "names.py",
        "sheet_parquet.py",
        "units.py",
    )
    assert found == {package / name for name in names}
