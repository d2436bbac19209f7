"""The stars of `make bench`: four simulated quadrants and the sample image.

Every code gets the stamps that the workflow cuts (rules select_stars and cut_stamps), fits those
that are not reserved, and draws its PSF at the positions of the reserved ones and on a grid.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from ztfpsf.names import QuadrantName
from ztfpsf.simulation.psf import PsfSettings, TruePsf, quadrant_field
from ztfpsf.simulation.scene import SceneSettings, simulate_quadrant, write_quadrant
from ztfpsf.simulation.settings import NO_TREND
from ztfpsf.stamps import Stamps, read_stamps

ROOT = Path(__file__).parents[3]
OVERSAMPLING = 8
HALF_SIZE_PX = 14  # of the drawn PSFs: a stamp of 25 px and room to shift it
GRID = 8  # x GRID positions all over the field
MATCH_PX = 1.0


class DataSet(NamedTuple):
    """A quadrant; the sample image has no scene, and nobody knows its truth."""

    title: str
    name: QuadrantName
    scene: SceneSettings | None = None
    seed: int = 0


def _simulated(
    title: str, qid: int, psf: PsfSettings, seed: int, n_stars: int = 480, **scene: float
) -> DataSet:
    scene = SceneSettings(n_stars=n_stars, separation_px=40.0, psf=psf, **scene)
    return DataSet(title, QuadrantName("20200924500000", 655, "zr", 1, qid), scene, seed)


# Half a wave of defocus makes a disc as wide as the seeing; the rest changes over the quadrant by
# as much as there is of it.
OPTICS = PsfSettings(
    fwhm_px=1.3,
    fwhm_trend=(0.0, 0.03, -0.02, 0.02),
    g1=(0.01, 0.005, 0.01, 0.0),
    g2=(-0.01, 0.01, 0.0, 0.0),
    defocus_waves=(0.45, 0.05, -0.06, 0.06),
    oblique_astigmatism_waves=(0.06, 0.08, 0.02, 0.02),
    astigmatism_waves=(-0.05, 0.02, 0.08, 0.0),
    vertical_coma_waves=(0.08, 0.02, 0.06, 0.0),
    horizontal_coma_waves=(-0.05, 0.07, 0.0, 0.0),
    vertical_trefoil_waves=(0.05, 0.05, -0.06, 0.0),
    oblique_trefoil_waves=(-0.06, 0.03, 0.05, 0.0),
    n_struts=4,
    diffusion_px=0.3,
    folding_threshold=1e-3,
)


SETS = {
    "kolmogorov": _simulated(
        "Simulated stars, Kolmogorov and optics",
        1,
        PsfSettings(
            fwhm_px=1.75,
            fwhm_trend=(0.0, 0.04, -0.03, 0.04),
            g1=(0.01, 0.0, 0.01, 0.0),
            g2=(-0.01, 0.01, 0.0, 0.0),
            defocus_waves=(0.12, 0.05, -0.05, 0.06),
            oblique_astigmatism_waves=(0.02, 0.05, 0.01, 0.02),
            astigmatism_waves=(-0.02, 0.01, 0.05, 0.0),
            vertical_coma_waves=(0.02, 0.0, 0.04, 0.0),
            horizontal_coma_waves=(-0.01, 0.04, 0.0, 0.0),
            folding_threshold=1e-3,
        ),
        4101,
    ),
    "moffat": _simulated(
        "Simulated stars, Moffat",
        2,
        PsfSettings(
            profile="moffat",
            fwhm_px=1.9,
            moffat_alpha=2.9,
            fwhm_trend=(0.0, 0.06, -0.04, 0.0),
            g1=(0.02, 0.02, 0.0, 0.0),
            g2=(-0.01, 0.0, 0.03, 0.0),
            defocus_waves=NO_TREND,
            oblique_astigmatism_waves=NO_TREND,
            astigmatism_waves=NO_TREND,
            vertical_coma_waves=NO_TREND,
            horizontal_coma_waves=NO_TREND,
        ),
        4202,
    ),
    "optics": _simulated(
        "Simulated stars, obscured pupil out of focus, faint stars around",
        3,
        OPTICS,
        4303,
        n_stars=600,
        n_faint_stars=5000,
    ),
    "sparse": _simulated(
        "25 simulated stars, Kolmogorov and optics",
        4,
        PsfSettings(fwhm_px=1.8, folding_threshold=1e-3),
        4404,
        n_stars=25,
        faintest_mag=19.0,
    ),
    "sample": DataSet("The sample image", QuadrantName("20200924431759", 655, "zr", 13, 3)),
}


class Truth(NamedTuple):
    """What a simulation knows: the PSF, and the reserved stars in the order of the stamps."""

    psf: TruePsf
    x_px: np.ndarray  # (n,)
    y_px: np.ndarray
    mag: np.ndarray
    flux_adu: np.ndarray
    noiseless: np.ndarray  # (n, S, S) ADU


class Stars(NamedTuple):
    """The stars of a set, and where the codes draw their PSFs."""

    stamps: Stamps
    reserved: np.ndarray  # (N,) bool
    grid: np.ndarray  # (GRID^2, 2) px
    truth: Truth | None

    @property
    def positions(self) -> np.ndarray:
        """The grid, then the reserved stars; (m, 2)."""
        stars = self.stamps.stars[self.reserved]
        return np.concatenate([self.grid, stars[["x_px", "y_px"]].to_numpy()])

    @property
    def fluxes_adu(self) -> np.ndarray:
        """Flux to draw each position for: the median one on the grid, the star's own; (m,)."""
        stamps = self.stamps
        sky = stamps.stars["sky_adu"].to_numpy()[:, None, None]
        flux = ((stamps.data - sky) * (stamps.mask == 0)).sum(axis=(1, 2))
        fitted = flux[~stamps.stars["is_reserved"].to_numpy()]
        return np.concatenate([np.full(len(self.grid), np.median(fitted)), flux[self.reserved]])


def make_stamps(names: list[str], folder: Path) -> None:
    """Simulate, and run the workflow up to the stamps; what is there already stays."""
    rows = ["image,sciimg,mskimg,catalogue"]
    for name in names:
        data_set = SETS[name]
        if data_set.scene is not None:
            simulate(data_set, folder / "results" / "simulated")
        source = "fetch_sample" if data_set.scene is None else "simulated"
        files = [f"results/{source}/{data_set.name}_{kind}img.fits" for kind in ("sci", "msk")]
        rows.append(f"{data_set.name},{files[0]},{files[1]},")
    (folder / "images.csv").write_text("\n".join(rows) + "\n")
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    options = ["--profile", str(ROOT / "profiles" / "local"), "--quiet", "all"]
    targets = [f"results/cut_stamps/{SETS[name].name}_stamps.fits" for name in names]
    config = ["--config", "images=images.csv"]
    command = [sys.executable, "-m", "snakemake", *where, *options, *config, "--", *targets]
    if subprocess.run(command, check=False, cwd=ROOT).returncode:
        sys.exit("Error: the stamps could not be cut; the messages above say why.")


def simulate(data_set: DataSet, folder: Path) -> None:
    """Image, mask, true stars and noiseless image, unless they are there with these settings."""
    name = data_set.name
    record = folder / f"{name}_settings.json"
    settings = json.dumps({"scene": str(data_set.scene), "seed": data_set.seed})
    if record.exists() and record.read_text() == settings:
        return
    folder.mkdir(parents=True, exist_ok=True)
    quadrant = simulate_quadrant(data_set.scene, data_set.seed, name)
    np.save(folder / f"{name}_noiseless.npy", quadrant.noiseless)
    write_quadrant(
        quadrant,
        folder / f"{name}_sciimg.fits",
        folder / f"{name}_mskimg.fits",
        folder / f"{name}_true_stars.parquet",
        {"version": "make bench", "inputs": [], "settings": json.loads(settings)},
    )
    record.write_text(settings)


def read_stars(data_set: DataSet, folder: Path) -> Stars:
    """Stamps and truth of a set. Reserved stars without a true one beside them do not count."""
    stamps = read_stamps(folder / "results" / "cut_stamps" / f"{data_set.name}_stamps.fits")
    reserved = stamps.stars["is_reserved"].to_numpy()
    image = stamps.images.iloc[0]
    grid = make_grid(image["nx"], image["ny"])
    if data_set.scene is None:
        return Stars(stamps, reserved, grid, None)
    stem = folder / "results" / "simulated" / str(data_set.name)
    true = pd.read_parquet(f"{stem}_true_stars.parquet")
    found, nearest = cKDTree(true[["x_px", "y_px"]]).query(stamps.stars[["x_px", "y_px"]])
    reserved = reserved & (found < MATCH_PX)
    true = true.iloc[nearest[reserved]]
    size = stamps.data.shape[-1]
    noiseless = np.load(f"{stem}_noiseless.npy", mmap_mode="r")
    corners = stamps.stars.loc[reserved, ["x0_px", "y0_px"]].to_numpy()
    truth = Truth(
        TruePsf(data_set.scene.psf, quadrant_field(data_set.scene.nx, data_set.scene.ny)),
        *(true[key].to_numpy() for key in ("x_px", "y_px", "mag", "flux_adu")),
        np.array([noiseless[y : y + size, x : x + size] for x, y in corners], float),
    )
    return Stars(stamps, reserved, grid, truth)


def make_grid(nx: int, ny: int) -> np.ndarray:
    """Centres of GRID x GRID cells, each at another place within its pixel; (GRID^2, 2)."""
    cells = (np.arange(GRID) + 0.5) / GRID
    x, y = (axis.ravel() for axis in np.meshgrid(cells * nx, cells * ny))
    step = np.arange(GRID**2)
    return np.floor(np.stack([x, y], axis=1)) + np.stack([step * 0.618, step * 0.382], axis=1) % 1


def write_request(stars: Stars, data_set: DataSet, folder: Path) -> Path:
    """What a code is asked for, as numpy arrays: it needs no other file and none of our code."""
    stamps, image = stars.stamps, stars.stamps.images.iloc[0]
    fitted = ~stamps.stars["is_reserved"].to_numpy()
    table = {
        name: stamps.stars.loc[fitted, name].to_numpy()
        for name in ("x_px", "y_px", "x0_px", "y0_px", "mag", "sky_adu", "sky_rms_adu")
    }
    path = folder / f"{data_set.name}_request.npz"
    numbers = ("gain", "read_noise_electron", "saturation_adu", "nx", "ny")
    np.savez(
        path,
        data=stamps.data[fitted],
        variance=stamps.variance[fitted],
        good=stamps.mask[fitted] == 0,
        positions=stars.positions,
        flux_adu=stars.fluxes_adu,
        oversampling=OVERSAMPLING,
        half_size_px=HALF_SIZE_PX,
        **table,
        **{name: image[name] for name in numbers},
    )
    return path
