"""The page about a run in which images failed, and its tables."""

import json
import os
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from browser import browser, missing_programs
from documents import PRODUCTS, documented, is_documented
from matplotlib.figure import Figure
from nbclient import NotebookClient
from small_run import BLANK, GOOD, LOST, SATURATED, TRUNCATED, options
from workflow_copy import ROOT, Run, Workflow
from ztfpsf.photometry.tables import BITS
from ztfpsf.psf.models import get_model, list_models
from ztfpsf.stamps import STAR_COLUMNS

PAGE = "results/report.html"
FIT = f"fit_psf/gaussian/gauss_newton/{GOOD}"
FITTED = "fit_psf/<model>/<optimiser>/*"
MEASURED = "measure_photometry/<model>/<optimiser>/*"
VALIDATED = "validate_psf/<model>/<optimiser>/*"
TABLES = (
    "select_stars/*_stars.parquet",
    f"{FITTED}_history.parquet",
    f"{MEASURED}_photometry.parquet",
    f"{MEASURED}_images.parquet",
    f"{VALIDATED}_images.parquet",
    f"{VALIDATED}_stars.parquet",
    f"{VALIDATED}_rho.parquet",
    "summarise_run/images.parquet",
    "summarise_run/fits.parquet",
    "index.parquet",
)
PICTURES = {
    *("loss", "psf", "residuals", "chi2", "star"),
    *("validation", "photometry", "pocket", "pocket_stars", "focal plane"),
}
# Opens a category from the menu, and counts what is listed: its entries, or its folders.
LIST = """
const [name] = arguments;
const folders = Object.entries(categories[name]);
app.setView({navbarMode: "menu"});
setTimeout(() => app.showCategory(name), 100);
setTimeout(() => {
  const shown = document.querySelector("#app");
  done(folders.length === 1
    ? [shown.querySelectorAll("tbody tr").length, folders[0][1].length]
    : [folders.filter(([folder]) => shown.innerText.includes(folder)).length, folders.length]);
}, 300);
"""
# Widths of the pictures of the first page, when they are there.
OPENING = """
const look = () => {
  const shown = [...document.querySelectorAll("#app .prose img")];
  if (shown.length === 3 && shown.every((one) => one.complete && one.naturalWidth))
    return done(shown.map((one) => one.naturalWidth));
  setTimeout(look, 50);
};
look();
"""
# Shows what the sign beside an entry shows, and waits until it is there.
SHOW = """
const [path] = arguments;
const entry = results[path];
const isPage = entry.data_uri.startsWith("data:text/html");
app.setView({content: isPage ? "html" : "img", contentPath: entry.data_uri, resultPath: path});
const look = () => {
  const shown = document.querySelector(`#app [src="${entry.data_uri}"]`);
  if (isPage && shown) return done(atob(entry.data_uri.split(",")[1]).split("<tr>").length - 2);
  if (shown && shown.complete && shown.naturalWidth) return done(shown.naturalWidth);
  setTimeout(look, 50);
};
look();
"""
# Whether the picture that is shown fits the window.
FITS = """
const [path] = arguments;
const picture = document.querySelector(`#app [src="${results[path].data_uri}"]`);
const box = picture.getBoundingClientRect();
done(box.top >= 0 && box.bottom <= window.innerHeight && box.right <= window.innerWidth);
"""


@pytest.fixture(scope="module")
def reported(finished: tuple[Workflow, Run]) -> Workflow:
    """The run, with its report."""
    workflow, _ = finished
    flags = (*options(workflow.directory), "--config", "images=images.csv")
    made = workflow.run(*flags, targets=["report"])
    assert made.returncode == 0, made.text
    # Nothing is begun again, least of all what failed.
    again = ("summarise_run", "plot_run", "index_products", "report")
    assert made.jobs == dict.fromkeys(again, 1), made.text
    look = ("--report-stylesheet", str(ROOT / "rules/captions/report.css"))
    page = workflow.run(*flags, "--report", PAGE, *look, targets=["report"])
    assert page.returncode == 0, page.text
    return workflow


def read(workflow: Workflow, path: str) -> pd.DataFrame:
    return pd.read_parquet(workflow.directory / "results" / path)


def test_every_image_has_its_verdict_or_reason(reported: Workflow) -> None:
    images = read(reported, "summarise_run/images.parquet").set_index("image")
    assert set(images.index) == {GOOD, TRUNCATED, BLANK, SATURATED, LOST}
    good = images.loc[GOOD]
    assert (good["status"], good["failed_rule"]) == ("ok", "")
    assert good["verdict"] in ("good", "usable")
    assert good["fwhm_px"] == pytest.approx(2.3548 * (0.9**2 + 1 / 12) ** 0.5, rel=0.02)
    assert 15 < good["depth_mag"] < 25
    failed = images.drop(GOOD)
    assert (failed["failed_rule"] == "select_stars").all()
    assert "not a complete FITS file" in failed.loc[TRUNCATED, "status"]
    assert "no such file" in failed.loc[LOST, "status"]
    page = (reported.directory / "results/plot_run/statuses.html").read_text()
    assert all(image in page for image in images.index)
    assert failed.loc[LOST, "status"] in page


def test_index_leads_to_every_product(reported: Workflow) -> None:
    index = read(reported, "index.parquet")
    assert set(index["image"]) == {GOOD}
    assert not index.duplicated(["image", "path"]).any()
    assert index["path"].map(lambda path: (reported.directory / path).is_file()).all()
    pairs = set(zip(index["rule"], index["product"], strict=True))
    assert {("fit_psf", "psf"), ("validate_psf", "images"), ("select_stars", "counts")} <= pairs
    fits = index[(index["rule"] == "fit_psf") & (index["product"] == "psf")]
    assert set(fits["optimiser"]) == {"gauss_newton", "tncg"}


def test_second_report_has_nothing_to_do(reported: Workflow) -> None:
    flags = (*options(reported.directory), "--config", "images=images.csv")
    run = reported.run(*flags, targets=["results/index.parquet", "results/plot_run/night.png"])
    assert "Nothing to be done" in run.text, run.text


def test_page_needs_nothing_beside_it(reported: Workflow) -> None:
    text = (reported.directory / PAGE).read_text()
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']https?:", text)
    assert not re.findall(r"@import|url\([\"']?https?:", text)


def test_page_opens_on_pictures_that_it_holds(reported: Workflow) -> None:
    text = (reported.directory / PAGE).read_text()
    shown = re.findall(r"this\.src = results\[&#34;(.+?)&#34;\]", text)
    assert [Path(path).stem.split("_")[-1] for path in shown] == ["star", "psf", "psf"]
    assert all(GOOD in path for path in shown[:2])
    assert all(f'"{path}": {{' in text for path in shown)


@pytest.mark.skipif(bool(missing_programs()), reason="Chromium is not installed: make test-report")
def test_page_loads_and_shows_every_picture(reported: Workflow, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as window:
        window.open(reported.directory / PAGE)
        assert all(width > 500 for width in window.run(OPENING))
        names = window.run("done(Object.keys(categories).sort())")
        assert names == ["PSF", "Run", "Stars"]
        labels = window.run("done(Object.values(results).map((one) => one.labels))")
        assert {label["picture"] for label in labels if "picture" in label} == PICTURES
        captions = window.run("done(Object.values(results).map((one) => one.caption))")
        assert all(len(caption) > 50 for caption in captions)
        for name in names:
            listed, expected = window.run(LIST, name)
            assert listed == expected > 0, name
        for path in window.run("done(Object.keys(results))"):
            # Pixels of a picture, rows of a table.
            expected = {"statuses": 5, "timing": 2}.get(Path(path).stem)
            size = window.run(SHOW, path)
            assert size == expected if expected else size > 500, path
            # The upper edge of a picture larger than the window could not be reached.
            assert expected or window.run(FITS, path), path
        assert window.errors() == []


def general(name: str) -> str:
    """A column as the document writes it: <d> for a diameter, <bin> for a bin of magnitudes."""
    return re.sub(r"_\d+px", "_<d>px", re.sub(r"\d+_\d+mag", "<bin>mag", name))


def columns(table: pd.DataFrame) -> set[str]:
    return {general(name) for name in table.columns}


@pytest.mark.parametrize("product", TABLES)
def test_columns_are_documented(reported: Workflow, product: str) -> None:
    folder = product.replace("<model>/<optimiser>", "gaussian/gauss_newton")
    assert is_documented(columns(read(reported, folder.replace("*", GOOD))), documented(product))


def test_columns_of_stamps_are_documented() -> None:
    assert documented("cut_stamps/*_stamps.fits") == set(STAR_COLUMNS)


def test_columns_of_a_fit_are_documented(reported: Workflow) -> None:
    """Of every model, of which this run has made one."""
    models = [get_model(model) for model in list_models()]
    described = {name for model in models for name in model.Description._fields}
    stars, images = (
        columns(read(reported, f"{FIT}_{table}.parquet")) for table in ("stars", "images")
    )
    assert is_documented(stars | described, documented(f"{FITTED}_stars.parquet"))
    of_grid = {"grid_degree", "grid_spacing_px", "grid_radius_px", "n_effective"}
    assert is_documented((images - described) | of_grid, documented(f"{FITTED}_images.parquet"))


def test_flags_of_the_photometry_are_documented() -> None:
    named = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", PRODUCTS, re.M)
    assert {name: int(bit) for bit, name in named} == BITS


def test_example_of_several_nights_runs(
    reported: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two nights, each in a directory of its own."""
    (code,) = re.findall(r"```python\n(import pandas.*?)```", PRODUCTS, re.S)
    nights = re.findall(r'"(20\d{6})"', code)
    assert len(nights) == 2
    for night in nights:
        (tmp_path / night).mkdir()
        os.symlink(reported.directory / "results", tmp_path / night / "results")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "products.md", "exec"), names)
    assert isinstance(names["figure"], Figure)
    assert names["figure"].axes[0].images[0].get_array().max() > 0.01
    assert list(names["comparison"].index.names) == ["night", "filtercode"]
    assert names["comparison"]["seeing_arcsec"].iloc[0] > 1


def test_tutorial_runs(reported: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this run, whose stars are Gaussians of sigma 0.9 px."""
    notebook = nbformat.read(ROOT / "docs/tutorial.ipynb", as_version=4)
    sources = "".join(cell["source"] for cell in notebook.cells)
    assert sources.count('Path("..")') == 1
    for cell in notebook.cells:
        cell["source"] = cell["source"].replace('Path("..")', f"Path({str(reported.directory)!r})")
    last = "print(json.dumps([description['fwhm_px'][0], np.median(core_chi2), len(rows)]))"
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\n{last}"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))
    # An editor starts it in its own folder.
    path = {"metadata": {"path": ROOT / "docs"}}
    done = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=path).execute()
    fwhm_px, core_chi2, n_bins = json.loads(done.cells[-1]["outputs"][0]["text"])
    assert fwhm_px == pytest.approx(0.9 * 2.3548, rel=0.01)
    assert core_chi2 == pytest.approx(1.0, abs=0.2)
    assert n_bins > 2
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5
    # No warning to be puzzled by.
    assert not [
        one for one in outputs if one["output_type"] == "stream" and one["name"] == "stderr"
    ]
