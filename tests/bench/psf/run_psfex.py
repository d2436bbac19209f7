"""The PSF by PSFEx, from a catalogue as SExtractor writes it; drawn by GalSim's reader.

python tests/bench/psf/run_psfex.py degree1|degree2 request.npz drawn.npz
"""

import subprocess
import sys
import time
from pathlib import Path

import galsim
import galsim.des
import numpy as np
from astropy.io import fits
from get_psfex import find_psfex

HERE = Path(sys.executable).parents[1]  # the environment of the peers
BAD = -1e30
APERTURE_RADIUS_PX = 5.0
# Every star given is used, but for PSFEx's own clipping, and nothing is made but the PSF.
SETTINGS = {
    "PSF_RECENTER": "Y",
    "SAMPLE_AUTOSELECT": "N",
    "SAMPLE_MINSN": 1,
    "SAMPLE_MAXELLIP": 1.0,
    "CHECKPLOT_TYPE": "NONE",
    "CHECKPLOT_DEV": "NULL",
    "CHECKIMAGE_TYPE": "NONE",
    "WRITE_XML": "N",
    "VERBOSE_TYPE": "QUIET",
    "NTHREADS": 0,  # all cores, where PSFEx is built for them
}
# The best of degrees 1 and 2, samplings from 0.4 px to 1 px, accuracies from 0.001 to 0.2, with
# and without recentring and stars with masked pixels: the first on the simulated stars, the
# second on the sample image.
METHODS = {
    "degree2": {"PSFVAR_DEGREES": 2, "PSF_SAMPLING": 0.5, "PSF_SIZE": "51,51"},
    "degree1": {"PSFVAR_DEGREES": 1, "PSF_SAMPLING": 0.6, "PSF_SIZE": "41,41"},
}


def make_catalogue(request: dict, path: Path) -> float:
    """FITS_LDAC with the measurements that PSFEx asks for, and the stamps without sky.

    Returns the median half-light radius in px.
    """
    data = request["data"] - request["sky_adu"][:, None, None]
    steps = np.arange(data.shape[-1])
    dx = steps + (request["x0_px"] - request["x_px"])[:, None]
    dy = steps + (request["y0_px"] - request["y_px"])[:, None]
    radius = np.hypot(dx[:, None, :], dy[:, :, None])
    inside = (radius <= APERTURE_RADIUS_PX) & request["good"]
    flux = (data * inside).sum(axis=(1, 2))
    error = np.sqrt((request["variance"] * inside).sum(axis=(1, 2)))
    half_light = half_light_radii(data * inside, radius)
    size = data.shape[-1]
    vignettes = np.where(request["good"], data, BAD).astype(np.float32)
    columns = [
        fits.Column("X_IMAGE", "1E", "pixel", array=request["x_px"] + 1),
        fits.Column("Y_IMAGE", "1E", "pixel", array=request["y_px"] + 1),
        fits.Column("FLUX_APER", "1E", "count", array=flux),
        fits.Column("FLUXERR_APER", "1E", "count", array=error),
        fits.Column("FLUX_RADIUS", "1E", "pixel", array=half_light),
        fits.Column("SNR_WIN", "1E", array=flux / error),
        fits.Column("ELONGATION", "1E", array=np.ones(len(data))),
        fits.Column("FLAGS", "1I", array=np.zeros(len(data))),
        fits.Column("VIGNET", f"{size**2}E", "count", dim=f"({size},{size})", array=vignettes),
    ]
    image = fits.Header()
    image["SIMPLE"], image["BITPIX"], image["NAXIS"] = True, -32, 2
    image["NAXIS1"], image["NAXIS2"] = int(request["nx"]), int(request["ny"])
    image["GAIN"] = image["SEXGAIN"] = float(request["gain"])
    image["SEXBKDEV"] = float(np.median(request["sky_rms_adu"]))
    image["SATURATE"] = float(request["saturation_adu"])
    # Bytes, not text: astropy would write zeros for the blanks at the end of each card.
    text = np.frombuffer(image.tostring().encode(), np.uint8)
    cards = fits.Column("Field Header Card", f"{text.size}B", array=text[None])
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU.from_columns([cards], name="LDAC_IMHEAD"),
            fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS"),
        ]
    ).writeto(path, overwrite=True)
    return float(np.median(half_light))


def half_light_radii(light: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Radius that holds half of the light of each stamp, (n,) px."""
    order = np.argsort(radius.reshape(len(light), -1), axis=1)
    sums = np.cumsum(np.take_along_axis(light.reshape(len(light), -1), order, axis=1), axis=1)
    half = (sums >= sums[:, -1:] / 2).argmax(axis=1)
    sorted_radius = np.take_along_axis(radius.reshape(len(light), -1), order, axis=1)
    return sorted_radius[np.arange(len(light)), half]


def draw(path_to_psf: Path, request: dict) -> np.ndarray:
    """Effective PSFs on the fine grid, flux 1 within the model; (m, k, k) float32."""
    psf = galsim.des.DES_PSFEx(str(path_to_psf))
    n, half = int(request["oversampling"]), int(request["half_size_px"])
    width = 2 * n * half + 1
    images = np.empty((len(request["positions"]), width, width), np.float32)
    for image, (x, y) in zip(images, request["positions"], strict=True):
        profile = psf.getPSF(galsim.PositionD(x + 1, y + 1))
        drawn = profile.drawImage(nx=width, ny=width, scale=1 / n, method="no_pixel")
        image[:] = drawn.array * n**2
    return images


def main(method: str, path_to_request: str, path_to_drawn: str) -> None:
    request = dict(np.load(path_to_request))
    catalogue = Path(path_to_drawn).with_suffix(".cat")
    radius_px = make_catalogue(request, catalogue)
    program, environment = find_psfex(HERE / "psfex")
    # Without a selection of its own PSFEx takes the middle of this range for the FWHM.
    fwhm_range = {"SAMPLE_FWHMRANGE": f"{0.2 * radius_px:.2f},{3.8 * radius_px:.2f}"}
    settings = {**SETTINGS, **METHODS[method], **fwhm_range}
    options = [word for key, value in settings.items() for word in (f"-{key}", str(value))]
    configuration = catalogue.with_suffix(".conf")
    configuration.write_text("")
    started = time.perf_counter()
    subprocess.run(
        [program, catalogue.name, "-c", configuration.name, *options],
        check=True,
        cwd=catalogue.parent,
        env=environment,
    )
    seconds = time.perf_counter() - started
    version = subprocess.run(
        [program, "--version"], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()[2]
    images = draw(catalogue.with_suffix(".psf"), request)
    np.savez(path_to_drawn, images=images, seconds=seconds, code=f"PSFEx {version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
