"""What is true about a simulated night, beside its frames."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits

from ztfpsf.fits_files import damage_named
from ztfpsf.io import make_again, open_product, write_fits, write_table
from ztfpsf.simulation.detector import Amplifier
from ztfpsf.simulation.drawing import draw_stamps
from ztfpsf.simulation.headers import Exposure, Photometry, science_cards
from ztfpsf.simulation.night import SimulatedAmplifier, make_exposure
from ztfpsf.simulation.plan import PlannedFrame, header_path, truth_path
from ztfpsf.simulation.psf import FieldMap, PsfSettings, TruePsf
from ztfpsf.simulation.scene import seeing_px
from ztfpsf.simulation.settings import NightSettings, make_settings
from ztfpsf.simulation.sky import SkyScene

RULE = "simulate_raw"
COSMIC_RAY, FULL_WELL, BAD_PIXEL = 1, 2, 4
# Steps of the stored images: ADU of the bias and the sky, part of the flat's median.
BIAS_STEP, LIGHT_STEP, FLAT_STEP = 1e-3, 1e-2, 1e-5
# astropy takes as long for a tile of one row as for one of many.
TILE_ROWS = 64
PSF_SIZE_PX, PSF_GRID = 41, 5


def _image(
    data: np.ndarray, name: str, step: float, header: fits.Header | None = None
) -> fits.CompImageHDU:
    # A negative level is the step itself.
    return fits.CompImageHDU(
        data,
        header,
        name=name,
        compression_type="RICE_1",
        quantize_level=-step,
        tile_shape=(TILE_ROWS, data.shape[1]),
    )


def _flags(data: np.ndarray, name: str) -> fits.CompImageHDU:
    return fits.CompImageHDU(
        data.astype(np.uint8),
        name=name,
        compression_type="RICE_1",
        tile_shape=(TILE_ROWS, data.shape[1]),
    )


def write_detector_truth(
    amplifier: Amplifier, path: Path, provenance: Mapping[str, Any]
) -> pd.DataFrame:
    """Write FLAT, BIAS and BAD (1 dead, 2 hot) of a quadrant; returns its list of bad pixels."""
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            _image(amplifier.response, "FLAT", FLAT_STEP),
            _image(amplifier.bias_adu, "BIAS", BIAS_STEP),
            _flags(amplifier.bad, "BAD"),
        ]
    )
    header = hdus[0].header
    header["GAIN"] = (amplifier.gain, "gain (e-/ADU)")
    header["READNOI"] = (amplifier.read_noise_electron, "read noise (e-)")
    header["LINCOEFA"], header["LINCOEFB"] = amplifier.coefficients
    header["OVSLEVEL"] = (amplifier.level_adu, "mean overscan level (ADU)")
    header["OVSTILT"] = (amplifier.tilt_adu, "from the first to the last row read (ADU)")
    write_fits(hdus, path, provenance)
    return bad_pixels(amplifier)


def bad_pixels(amplifier: Amplifier) -> pd.DataFrame:
    """ccdid, qid, x_px, y_px, kind (dead or hot), dark current in e-/s."""
    y, x = np.nonzero(amplifier.bad)
    table = pd.DataFrame({"ccdid": amplifier.ccdid, "qid": amplifier.qid, "x_px": x, "y_px": y})
    hot = amplifier.bad[y, x] == 2
    table["kind"] = np.where(hot, "hot", "dead")
    table["dark_electron_s"] = 0.0
    table.loc[hot, "dark_electron_s"] = amplifier.hot_electron_s
    return table


def science_header(
    settings: NightSettings, exposure: Exposure, amplifier: Amplifier, scene: SkyScene
) -> fits.Header:
    """Header as the survey's own pipeline writes it for a science image of this quadrant."""
    ny, nx = amplifier.response.shape
    photometry = Photometry(
        round(amplifier.gain, 4),
        round(amplifier.read_noise_electron, 4),
        settings.detector.full_well_adu,
        settings.sky.zeropoint_mag,
        seeing_px(scene.psf, nx / 2, ny / 2),
        settings.sky.sky_adu,
    )
    return science_cards(exposure, amplifier.ccdid, amplifier.qid, photometry, scene.wcs)


def write_exposure_truth(
    settings: NightSettings,
    frame: PlannedFrame,
    amplifier: Amplifier,
    part: SimulatedAmplifier,
    root: Path,
    provenance: Mapping[str, Any],
) -> None:
    """Write the science header, and NOISELESS, AFFECTED, stars and PSF of one quadrant.

    NOISELESS is the calibrated image without noise, ADU. AFFECTED has the bits 1 cosmic ray,
    2 full well, 4 bad pixel.
    """
    name, scene = frame.quadrant(amplifier.ccdid, amplifier.qid), part.scene
    assert scene is not None, "frames on sky have one"
    header = science_header(settings, make_exposure(settings, frame), amplifier, scene)
    primary = fits.HDUList([fits.PrimaryHDU(header=header.copy())])
    write_fits(primary, root / header_path(name), provenance)
    affected = (
        COSMIC_RAY * part.hit + FULL_WELL * part.raw.full + BAD_PIXEL * (amplifier.bad > 0)
    ).astype(np.uint8)
    images = fits.HDUList(
        [
            fits.PrimaryHDU(),
            _image(scene.noiseless, "NOISELESS", LIGHT_STEP, header),
            _flags(affected, "AFFECTED"),
        ]
    )
    write_fits(images, root / truth_path(name, "truth.fits"), provenance)
    ny, nx = affected.shape
    stars = scene.stars
    inside = stars["x_px"].between(-0.5, nx - 0.5) & stars["y_px"].between(-0.5, ny - 0.5)
    write_table(
        stars[inside].reset_index(drop=True), root / truth_path(name, "stars.parquet"), provenance
    )
    write_true_psf(scene.psf, nx, ny, root / truth_path(name, "psf.fits"), provenance)


def write_true_psf(
    psf: TruePsf, nx: int, ny: int, path: Path, provenance: Mapping[str, Any]
) -> None:
    """Write the PSF: its settings (TRUEPSF) and centred, pixel-integrated images on a grid.

    The images are as `draw_stamps` draws stars. HDU PSF has shape (25, 41, 41), POSITIONS the
    columns x_px and y_px.
    """
    x, y = (
        axis.ravel()
        for axis in np.meshgrid(np.linspace(0, nx - 1, PSF_GRID), np.linspace(0, ny - 1, PSF_GRID))
    )
    # Whole pixels, so that a stamp is centred.
    x, y = np.round(x), np.round(y)
    cube = draw_stamps(psf, x, y, PSF_SIZE_PX)
    columns = [fits.Column(key, "D", array=axis) for key, axis in (("x_px", x), ("y_px", y))]
    primary = fits.PrimaryHDU()
    primary.header["TRUEPSF"] = json.dumps({"settings": asdict(psf.settings), "field": psf.field})
    table = fits.BinTableHDU.from_columns(columns, name="POSITIONS")
    hdus = fits.HDUList([primary, fits.ImageHDU(cube, name="PSF"), table])
    write_fits(hdus, path, provenance)


def read_true_psf(path: str | Path) -> TruePsf:
    """The PSF that `write_true_psf` wrote. Raises InputError when the file is another one."""
    with open_product(path, RULE) as hdus, damage_named(path, make_again(RULE)):
        record = json.loads(hdus[0].header["TRUEPSF"])
    settings = make_settings(PsfSettings, record["settings"], str(path))
    return TruePsf(settings, FieldMap(*record["field"]))
