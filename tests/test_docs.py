"""The documents: links lead somewhere, commands exist, examples run."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from matplotlib import colormaps
from PIL import Image

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "config/*.md", "profiles/**/*.md", "scripts/**/*.md")
    for path in ROOT.glob(pattern)
)
NOTEBOOK = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in DOCUMENTS}
TEXTS["docs/tutorial.ipynb"] = "\n".join(
    cell["source"] for cell in NOTEBOOK.cells if cell["cell_type"] == "markdown"
)
ALL = "\n".join(TEXTS.values())


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"```.*?```", "", text, flags=re.S)


def anchors(text: str) -> set[str]:
    """Names of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def code_blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_documents_are_found() -> None:
    assert {"README.md", "CHANGELOG.md", "config/README.md", "docs/mathematics.md"} <= set(TEXTS)
    assert sum(map(len, map(links, TEXTS.values()))) > 10


def test_front_page_is_short_and_leads_to_every_text() -> None:
    readme = TEXTS["README.md"]
    assert len(readme.splitlines()) <= 180
    texts = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.[mi]*")}
    assert texts | {"config/README.md", "CONTRIBUTING.md"} <= set(links(readme))


def test_pictures_of_the_front_page_are_small() -> None:
    pictures = [link for link in links(TEXTS["README.md"]) if link.endswith(".png")]
    assert len(pictures) == 2
    for picture in pictures:
        assert (ROOT / picture).stat().st_size < 150_000, "run `make pictures`"


def test_figures_of_the_front_page_are_those_of_the_numbers() -> None:
    figures = re.findall(
        r"`?(\w+)`? (?:leaves )?([\d.]+), ([\d.]+), ([\d.]+)\s+and\s+([\d.]+) times",
        TEXTS["README.md"],
    )
    assert [name for name, *_ in figures] == ["moffat_grid", "Moffat"]
    for row in figures:
        assert f"\n| {' | '.join(row)} |\n" in TEXTS["docs/numbers.md"]


def test_picture_keeps_its_colours(tmp_path: Path) -> None:
    bars = np.concatenate([colormaps[name](np.arange(256))[None] for name in ("viridis", "RdBu_r")])
    pixels = np.repeat(np.round(255 * bars[..., :3]).astype(np.uint8), 20, axis=0)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    copy = runpy.run_path(str(ROOT / "docs" / "pictures.py"))["copy_picture"]
    copy(tmp_path / "large.png", tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as picture:
        assert picture.mode == "P"
        changed = np.asarray(picture.convert("RGB"), int) - pixels
    assert np.abs(changed).max() < 20


def test_pictures_of_the_report_are_listed() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (Run|Stars|PSF|Calibration|Survey|Light curves) \|", ALL, re.M
    )
    captions = {path.stem for path in (ROOT / "rules" / "captions").glob("*.rst")}
    assert sorted(name for name, _ in rows) == sorted(captions - {"page"})
    rules = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert dict(re.findall(r'captions/(\w+)\.rst",\s+category="([\w ]+)"', rules)).items() <= set(
        rows
    )


def test_notebook_holds_no_results() -> None:
    nbformat.validate(NOTEBOOK)
    cells = [cell for cell in NOTEBOOK.cells if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in links(TEXTS[name]):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("name", TEXTS)
def test_named_paths_exist(name: str) -> None:
    """Paths of the repository in back ticks; those of products and of the user's are not there."""
    tops = ("scripts", "rules", "config", "profiles", "envs", "tests", "docs")
    named = re.findall(rf"`((?:{'|'.join(tops)})/[\w./-]+)`", prose(TEXTS[name]))
    made_elsewhere = {"profiles/default", "config/images.csv"}
    for path in set(named) - made_elsewhere:
        assert (ROOT / path.rstrip(".")).exists(), path


def test_named_modules_exist() -> None:
    package = ROOT / "scripts"
    named = set(re.findall(r"`(ztfpsf(?:\.\w+)+)`", ALL))
    assert len(named) > 10
    for name in named - {"ztfpsf.__version__"}:
        # The last word may be a function of its module.
        stem = package.joinpath(*name.split("."))
        module = stem.parent.with_suffix(".py")
        is_function = module.exists() and f"def {stem.name}(" in module.read_text()
        assert stem.is_dir() or stem.with_suffix(".py").exists() or is_function, name


def test_words_are_those_of_the_code() -> None:
    folders = (("scripts", "*.py"), ("config", "*.yaml"))
    sources = [path for folder, kind in folders for path in (ROOT / folder).rglob(kind)]
    code = set(re.findall(r"\w+", "\n".join(path.read_text() for path in sources)))
    words = {word for word in re.findall(r"`(\w+)`", TEXTS["docs/words.md"]) if word[0] != "_"}
    assert len(words) > 20
    assert words <= code


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    commands = re.findall(r"(?:`|^)make((?: [a-z-]+)+)", ALL, re.M)
    named = {word for words in commands for word in words.split()}
    assert {"demo", "report", "test-cluster", "bench"} <= named
    assert named <= targets


def test_options_of_list_images_exist() -> None:
    commands = re.findall(r"python scripts/list_images.py [^`\n]*", ALL)
    script = ROOT / "scripts" / "list_images.py"
    help_text = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = {option for command in commands for option in re.findall(r"--\w+", command)}
    assert len(options) > 2
    assert all(option in help_text for option in options)


def test_keys_of_the_configuration_exist() -> None:
    """Keys that texts name with their block, `block.key`."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    blocks = {name for name, value in config.items() if isinstance(value, dict)}
    named = re.findall(r"`((?:\w+\.)+\w+)`", "\n".join(TEXTS.values()))
    keys = [name.split(".") for name in named if name.split(".")[0] in blocks]
    assert len(keys) > 20
    for path in keys:
        value = config
        for part in path:
            assert part in value, ".".join(path)
            value = value[part]


def test_examples_of_the_documents_are_files() -> None:
    """tests/workflow/test_extending.py runs them."""
    files = ("models/lorentzian.py", "optimisers/lbfgs.py")
    texts = [(ROOT / "tests" / "examples" / file).read_text() for file in files]
    assert code_blocks("python", TEXTS["docs/extending.md"]) == texts


def test_citation_names_the_version() -> None:
    import ztfpsf

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ztfpsf.__version__
    assert f"## {ztfpsf.__version__}" in TEXTS["CHANGELOG.md"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
