"""A tiny writer of raw ZTF CCD files, independent of the package's simulator."""

from datetime import datetime
from pathlib import Path

import numpy as np
from astropy.io import fits

NY, NX, N_OVERSCAN = 96, 128, 30
SHAPE = (NY, NX)
GAIN, READ_NOISE = 6.2, 10.0  # electron/ADU, electron
NIGHT = "20200401"
# Detector settings of the configuration, for frames of this size.
DETECTOR = {
    "quadrant_shape": list(SHAPE),
    "overscan": {
        "first_column": 25,
        "stop_column": 30,
        "statistic": "median",
        "clip_mad": 3.0,
        "order": 2,
    },
    "linearity_key": "amp_id",
    "saturation_adu": 60000.0,
    "pocket_parameters": None,
}


def raw_name(kind, fraction, *, night=NIGHT, ccdid=6, filtercode="zr", field=0):
    code = "bi" if kind == "b" else filtercode
    return f"ztf_{night}{fraction:06d}_{field:06d}_{code}_c{ccdid:02d}_{kind}.fits.fz"


def write_raw(folder, name, images, *, level=None, led=None, primary=None, seed=0, noise=1.0):
    """Write (4, ny, nx) images in ADU above the bias level; the level is per row, (4, ny).

    Read noise is added to the images and the overscans; `noise` scales it.
    """
    rng = np.random.default_rng(seed)
    images = np.asarray(images, dtype=np.float64)
    ny = images.shape[1]
    level = np.full((4, ny), 100.0) if level is None else np.asarray(level)
    sigma = noise * READ_NOISE / GAIN
    header = fits.PrimaryHDU()
    header.header.update(
        {
            "EXPTIME": 30.0,
            "OBSMJD": mjd_of(name),
            "FILTER": "ZTF_g" if "_zg_" in name else "ZTF_r",
            "RAD": 149.057,
            "DECD": 11.75,
            "FIELDID": 517,
        }
    )
    if led is not None:
        header.header["ILUM_LED"] = led
    header.header.update(primary or {})
    ccdid = int(name.split("_c")[1][:2])
    hdus = [header]
    for i in range(4):
        pixels = images[i] + level[i][:, None] + rng.normal(0, sigma, images[i].shape)
        hdus.append(_compress(pixels))
        hdus[-1].header.update(
            {
                "CCD_ID": ccdid,
                "AMP_ID": i,
                "AMP_NAME": "HGFE"[i],
                "GAIN": GAIN,
                "READNOI": READ_NOISE,
            }
        )
    for i in range(4):
        strip = level[i][:, None] + rng.normal(0, sigma, (ny, N_OVERSCAN))
        hdus.append(_compress(strip))
    path = Path(folder) / name
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def mjd_of(name):
    """Of the time in a name, by the calendar of the standard library."""
    day = datetime.strptime(name[4:12], "%Y%m%d") - datetime(1858, 11, 17)
    return day.days + int(name[12:18]) / 1e6


def _compress(pixels):
    return fits.CompImageHDU(
        pixels.astype(np.float32), compression_type="RICE_1", quantize_level=-0.02
    )
