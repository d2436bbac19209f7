"""The PSF by rule fit_psf with the configuration's own settings; its method is the model's name.

The whole rule is timed, from the stamps on disk to the tables: first with an empty cache of
compiled code, then again in the same process.

    PYTHONPATH=scripts python tests/bench/psf/run_ours.py moffat stamps.fits request.npz drawn.npz
"""

import os
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parents[3] / "config" / "config.yaml"


def fit(model: str, path_to_stamps: str, folder: Path) -> float:
    """Seconds of one fit; the PSF is in psf.fits."""
    import yaml
    from fit_psf import fit_psf

    config = yaml.safe_load(CONFIG.read_text())
    settings = {key: value for key, value in config["fit_psf"].items() if key != "optimisers"}
    names = ("stars.parquet", "images.parquet", "history.parquet", "psf.fits")
    started = time.perf_counter()
    fit_psf(
        path_to_stamps=path_to_stamps,
        path_to_pocket="",
        **{f"path_to_{name.partition('.')[0]}": str(folder / name) for name in names},
        model=model,
        optimiser="gauss_newton",
        options=config["fit_psf"]["optimisers"]["gauss_newton"],
        settings=settings,
        device="cpu",
        dask_scheduler=None,
        threads=os.cpu_count(),
        max_failed_fraction=0.0,
    )
    return time.perf_counter() - started


def main(model: str, path_to_stamps: str, path_to_request: str, path_to_drawn: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        cold_s = fit(model, path_to_stamps, Path(folder))
        seconds = fit(model, path_to_stamps, Path(folder))
        draw(Path(folder) / "psf.fits", path_to_request, path_to_drawn, seconds, cold_s)


def draw(
    path_to_psf: Path, path_to_request: str, path_to_drawn: str, seconds: float, cold_s: float
) -> None:
    """Effective PSFs on the fine grid; (m, k, k) float32."""
    import numpy as np
    from ztfpsf import __version__
    from ztfpsf.psf import load_psf
    from ztfpsf.psf.product.sampling import draw_params

    request = dict(np.load(path_to_request))
    psf = load_psf(path_to_psf)
    # A PSF that changes with flux is drawn for each star's own.
    params = psf.local_params(*request["positions"].T, request["flux_adu"])
    grid = int(request["oversampling"]), int(request["half_size_px"])
    images = draw_params(psf.model, params, *grid).astype(np.float32)
    np.savez(
        path_to_drawn, images=images, seconds=seconds, cold_s=cold_s, code=f"ztfpsf {__version__}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
