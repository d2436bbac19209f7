"""Cut stamps around places on the sky, whatever is there."""

import numpy as np
import pandas as pd

from ztfpsf.stamps import STAR_COLUMNS, Stamps
from ztfpsf.stars.cutting import describe_image, make_variance, measure_local_sky
from ztfpsf.stars.images import ScienceImage, Sky
from ztfpsf.stars.sky import get_field_of_view, get_separation_deg, read_wcs, to_pixels
from ztfpsf.stars.sky_noise import find_blank, measure_sky_noise


def cut_targets(
    name: str,
    image: ScienceImage,
    sky: Sky,
    targets: pd.DataFrame,
    size_px: int,
    variance: np.ndarray | None = None,
) -> Stamps:
    """Stamps of the targets (target, ra_deg, dec_deg) that the world coordinates put on the image.

    As `ztfpsf.stars.cutting.cut_image` cuts stars, the target's name for that of a star, but no
    neighbour is masked, for a target sits in its host; and a stamp may reach over the edge: what
    is not on the image is masked. Raises InputError without world coordinates.
    """
    ny, nx = image.data.shape
    held, x, y = _find_held(image, targets)
    x0, y0 = (np.floor(axis + 0.5).astype(np.int32) - size_px // 2 for axis in (x, y))
    steps = np.arange(size_px)
    row, column = y0[:, None, None] + steps[:, None], x0[:, None, None] + steps
    inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
    cut = row.clip(0, ny - 1), column.clip(0, nx - 1)
    is_blank = find_blank(image, sky)
    local = measure_local_sky(image.data, is_blank, sky, x0, y0, size_px)
    local_sky = local["sky_adu"]
    data = np.where(
        inside & np.isfinite(image.data[cut]), image.data[cut], local_sky[:, None, None]
    )
    bad = ~inside | image.bad[cut] | image.saturated[cut]
    if variance is not None:
        variance = variance[cut]
        bad |= np.isnan(variance)
    stars = pd.DataFrame(
        {
            "image": name,
            "star_id": held["target"].to_numpy(),
            "ra_deg": held["ra_deg"].to_numpy(float),
            "dec_deg": held["dec_deg"].to_numpy(float),
            "mag": np.nan,
            "x_px": x,
            "y_px": y,
            "x0_px": x0,
            "y0_px": y0,
            **local,
            "is_reserved": False,
        }
    )
    return Stamps(
        describe_image(name, image, sky, measure_sky_noise(sky, is_blank)),
        stars[list(STAR_COLUMNS)],
        data,
        make_variance(image, data, bad, local_sky, variance),
        bad.astype(np.uint8),
    )


def _find_held(
    image: ScienceImage, targets: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The targets on an image, and where: x, y (n,)."""
    ny, nx = image.data.shape
    wcs = read_wcs(image.header, image.path)
    ra, dec = (targets[name].to_numpy(float) for name in ("ra_deg", "dec_deg"))
    # Far from the image the polynomials of its header lead anywhere, into the image, too.
    centre_ra_deg, centre_dec_deg, radius_deg = get_field_of_view(wcs, image.data.shape)
    near = np.flatnonzero(get_separation_deg(ra, dec, centre_ra_deg, centre_dec_deg) <= radius_deg)
    x, y = to_pixels(wcs, ra[near], dec[near])
    with np.errstate(invalid="ignore"):
        is_on = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    return targets.iloc[near[is_on]], x[is_on], y[is_on]
