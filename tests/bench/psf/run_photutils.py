"""The effective PSF by photutils, one for the whole image, in the environment of the peers.

python tests/bench/psf/run_photutils.py epsf request.npz drawn.npz
"""

import sys
import time
import warnings

import numpy as np
import photutils
from astropy.utils.exceptions import AstropyUserWarning
from photutils.psf import EPSFBuilder, EPSFStar, EPSFStars

METHODS = {"epsf": {"oversampling": 4, "maxiters": 10, "progress_bar": False}}


def make_stars(request: dict) -> EPSFStars:
    """Stamps without sky, masked pixels with weight 0."""
    data = request["data"] - request["sky_adu"][:, None, None]
    x, y = (request[f"{axis}_px"] - request[f"{axis}0_px"] for axis in "xy")
    weights = request["good"] / np.sqrt(request["variance"])
    return EPSFStars(
        [
            EPSFStar(data[i].astype(float), weights=weights[i], cutout_center=(x[i], y[i]))
            for i in range(len(data))
        ]
    )


def main(method: str, path_to_request: str, path_to_drawn: str) -> None:
    request = dict(np.load(path_to_request))
    stars = make_stars(request)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        epsf, _ = EPSFBuilder(**METHODS[method])(stars)
    seconds = time.perf_counter() - started
    n, half = int(request["oversampling"]), int(request["half_size_px"])
    offset = np.arange(-n * half, n * half + 1) / n
    drawn = epsf.evaluate(offset[None, :], offset[:, None], flux=1.0, x_0=0.0, y_0=0.0)
    images = np.broadcast_to(drawn.astype(np.float32), (len(request["positions"]), *drawn.shape))
    np.savez(
        path_to_drawn, images=images, seconds=seconds, code=f"photutils {photutils.__version__}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
