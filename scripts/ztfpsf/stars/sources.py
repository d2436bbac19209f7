"""All sources in and around an image, from the catalogue the configuration names."""

import numpy as np
import pandas as pd
from astropy.wcs import WCS

from ztfpsf.cards import get_number
from ztfpsf.errors import InputError
from ztfpsf.stars.catalogue import READERS, Cone, check_catalogue_path
from ztfpsf.stars.detection import detect_sources
from ztfpsf.stars.images import ScienceImage, Sky
from ztfpsf.stars.selection import Criteria
from ztfpsf.stars.sky import get_field_of_view, get_separation_deg, read_wcs, to_pixels

KINDS = ("detection", *READERS)


def find_sources(
    image: ScienceImage, sky: Sky, kind: str, path: str, criteria: Criteria
) -> pd.DataFrame:
    """Sources of catalogue `kind` (KINDS) at `path`: star_id, ra_deg, dec_deg, mag, x_px, y_px.

    A catalogue is read as far as one isolation radius around the image: pixel positions far
    outside of it are NaN. Raises InputError for a header without a WCS, and whatever the
    catalogue raises.
    """
    wcs = read_wcs(image.header, image.path)
    if kind == "detection":
        return detect_sources(image, sky, wcs, criteria.detection_threshold)
    if kind not in READERS:
        raise InputError(f"catalogue: kind is '{kind}'; expected one of {', '.join(KINDS)}.")
    check_catalogue_path(kind, path)
    ra, dec, radius = get_field_of_view(wcs, image.data.shape)
    mjd = get_number(image.header, "OBSMJD")
    around = Cone(ra, dec, radius + criteria.isolation_arcsec / 3600, mjd)
    return _place(READERS[kind](path, around), around._replace(radius_deg=radius), wcs)


def _place(stars: pd.DataFrame, field_of_view: Cone, wcs: WCS) -> pd.DataFrame:
    """Add x_px, y_px. The TPV polynomial is only meant for the field of view: NaN outside."""
    ra, dec = stars["ra_deg"].to_numpy(), stars["dec_deg"].to_numpy()
    distance = get_separation_deg(ra, dec, field_of_view.ra_deg, field_of_view.dec_deg)
    near = distance <= field_of_view.radius_deg
    x, y = np.full((2, len(stars)), np.nan)
    x[near], y[near] = to_pixels(wcs, ra[near], dec[near])
    return stars.assign(x_px=x, y_px=y)
