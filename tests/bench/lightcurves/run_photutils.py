"""Forced PSF photometry by photutils on stamps, in the environment of the peers.

python run_photutils.py request.npz fluxes.npz

The same PSFs, pixels and places as ours; sky from a ring around each object.
"""

import sys
import warnings

import numpy as np
import photutils
from astropy.table import Table
from photutils.background import LocalBackground
from photutils.psf import ImagePSF, PSFPhotometry


def main(path_to_request: str, path_to_fluxes: str) -> None:
    request = dict(np.load(path_to_request))
    data, at, sigma = request["data"], request["at"], request["sigma"]
    flux = np.full(data.shape[:2], np.nan)
    warnings.simplefilter("ignore")
    for e, picture in enumerate(request["psf"]):
        model = ImagePSF(picture, oversampling=int(request["oversampling"]))
        model.x_0.fixed = model.y_0.fixed = True
        photometry = PSFPhotometry(
            model, (13, 13), aperture_radius=4, local_bkg_estimator=LocalBackground(8, 12)
        )
        for k, stamp in enumerate(data[e]):
            start = Table({"x": [at[e, k, 0]], "y": [at[e, k, 1]]})
            error = np.full(stamp.shape, sigma[e])
            flux[e, k] = photometry(stamp, error=error, init_params=start)["flux_fit"][0]
    np.savez(path_to_fluxes, flux=flux, code=f"photutils {photutils.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
