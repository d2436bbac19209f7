"""Positions on the sky: world coordinates of an image, proper motion, names of stars."""

import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, NoConvergence, WcsError

from ztfpsf.cards import get_text, get_value
from ztfpsf.errors import InputError

WCS_KEYWORDS = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
# Cards that hold numbers: where one does not, WCSLIB takes it for 0 or leaves it out.
_WCS_NUMBER = re.compile(
    r"(CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|[AB]P?_\d+_\d+|LONPOLE|LATPOLE|EQUINOX"
)
# From a telescope in space to a wide camera lens; beyond, a card is wrong.
PIXEL_SCALES_ARCSEC = (0.01, 120.0)
ROUND_TRIP_PX = 0.05  # a twentieth of what the stars are looked for in
MAS_IN_RADIAN = np.radians(1 / 3.6e6)


def to_unit_vectors(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) of positions on the sky."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def to_angles(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension in [0, 360) and declination, degrees, of vectors (n, 3) of any length."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def get_separation_deg(
    ra_deg: np.ndarray, dec_deg: np.ndarray, centre_ra_deg: float, centre_dec_deg: float
) -> np.ndarray:
    """Angles in degrees between positions (n,) and a centre, exact at all distances."""
    vectors = to_unit_vectors(np.asarray(ra_deg), np.asarray(dec_deg))
    centre = to_unit_vectors(np.asarray(centre_ra_deg), np.asarray(centre_dec_deg))
    return np.degrees(2 * np.arcsin(np.linalg.norm(vectors - centre, axis=-1).clip(0, 2) / 2))


def apply_proper_motion(
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    pmra_mas_per_year: np.ndarray,
    pmdec_mas_per_year: np.ndarray,
    years: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions `years` later: uniform motion in space, no parallax, no radial velocity.

    `pmra` contains the factor cos(dec), as in Gaia; a proper motion that is not finite counts as
    zero. Hipparcos catalogue (ESA SP-1200), volume 1, equation 1.5.21.
    """
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    position = to_unit_vectors(ra_deg, dec_deg)
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=-1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=-1)
    shift = east * np.nan_to_num(pmra_mas_per_year, posinf=0, neginf=0)[:, None]
    shift += north * np.nan_to_num(pmdec_mas_per_year, posinf=0, neginf=0)[:, None]
    years = np.broadcast_to(years, ra.shape)[:, None]
    return to_angles(position + MAS_IN_RADIAN * shift * years)


def get_julian_year(mjd: float) -> float:
    """Julian epoch of a modified Julian date."""
    return 2000.0 + (mjd - 51544.5) / 365.25


def make_star_names(ra_deg: np.ndarray, dec_deg: np.ndarray) -> list[str]:
    """IAU names like J034523.12+353123.4: digits are cut off, not rounded, as the IAU asks."""
    # 24000 hundredths of a second of time and 36000 tenths of an arcsecond make a degree.
    ra_steps = np.floor((np.asarray(ra_deg) % 360.0) * 24000).astype(np.int64)
    dec_steps = np.floor(np.abs(dec_deg) * 36000).astype(np.int64)
    return [
        f"J{a // 360000:02d}{a // 6000 % 60:02d}{a // 100 % 60:02d}.{a % 100:02d}"
        f"{'-' if negative else '+'}"
        f"{d // 36000:02d}{d // 600 % 60:02d}{d // 10 % 60:02d}.{d % 10}"
        for a, d, negative in zip(
            ra_steps.tolist(), dec_steps.tolist(), np.signbit(dec_deg).tolist(), strict=True
        )
    ]


def read_wcs(header: fits.Header, path: str) -> WCS:
    """World coordinates of an image, ICRS (TPV: the PV terms matter up to 0.75").

    Raises InputError, naming the card where it can, when the header holds none that can be
    evaluated, or when they are not those of an image of the sky: other axes or another system
    than RA and Dec of J2000, an impossible pixel scale, pixels that do not come back.
    """
    hint = "fit the astrometry of the image and write it to the header"
    _check_cards(header, path, hint)
    with warnings.catch_warnings():
        # The dates of ZTF's headers are not in the form of the standard; positions do not care.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, naxis=2)
            flaw = _find_flaw(wcs, header)
        except (WcsError, NoConvergence, ValueError, TypeError, MemoryError) as error:
            flaw = f"is broken ({_in_short(error)})"
    if flaw:
        raise InputError(f"{path}: the WCS of the header {flaw}; {hint}.")
    return wcs


def _check_cards(header: fits.Header, path: str, hint: str) -> None:
    """Raise InputError for a card that is missing, or holds no number where one belongs."""
    missing = [key for key in WCS_KEYWORDS if key not in header]
    if "CD1_1" not in header and "CDELT1" not in header:
        missing.append("CD1_1")
    if missing:
        raise InputError(f"{path}: the header has no WCS ({', '.join(missing)} missing); {hint}.")
    for key in filter(_WCS_NUMBER.fullmatch, header):
        value = get_value(header, key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise InputError(f"{path}: {key} of the WCS is {value!r}, not a number; {hint}.")


def _find_flaw(wcs: WCS, header: fits.Header) -> str:
    """What makes world coordinates useless, "" if nothing does."""
    one, two = (get_text(header, key) for key in ("CTYPE1", "CTYPE2"))
    if (wcs.wcs.lngtyp.strip(), wcs.wcs.lattyp.strip(), wcs.wcs.lng) != ("RA", "DEC", 0):
        return f"gives no RA and Dec (CTYPE1 is {one!r}, CTYPE2 {two!r})"
    system, equinox = wcs.wcs.radesys, wcs.wcs.equinox
    if system != "ICRS" and (system, equinox) != ("FK5", 2000.0):
        return f"is not of J2000 (RADESYS is {system!r}, EQUINOX {equinox:g})"
    # Corners, middles of the edges and centre, each with its neighbours along x and y.
    ny, nx = wcs.array_shape or (2, 2)
    y, x = (z.ravel() for z in np.meshgrid([0, ny / 2, ny - 1], [0, nx / 2, nx - 1], indexing="ij"))
    ra, dec = to_sky(wcs, x, y)
    if not np.isfinite(ra + dec).all():
        return f"gives no RA and Dec all over the image (CTYPE1 is {one!r})"
    low, high = PIXEL_SCALES_ARCSEC
    here = to_unit_vectors(ra, dec)
    for dx, dy in ((1, 0), (0, 1)):
        there = to_unit_vectors(*to_sky(wcs, x + dx, y + dy))
        steps = 3600 * np.degrees(np.linalg.norm(there - here, axis=1))
        if not ((steps >= low) & (steps <= high)).all():
            return (
                f"has pixels of {steps.min():.3g} to {steps.max():.3g} arcsec, expected {low:g} "
                f"to {high:g} (CTYPE1 is {one!r}: look at its PV cards, CD1_1 or CDELT1)"
            )
    x_back, y_back = to_pixels(wcs, ra, dec)
    if not (np.hypot(x_back - x, y_back - y) <= ROUND_TRIP_PX).all():
        return f"does not lead back from the sky (CTYPE1 is {one!r}: look at its PV or SIP cards)"
    return ""


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:120].rstrip(". ")


def to_sky(wcs: WCS, x_px: np.ndarray, y_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination in degrees of pixel positions."""
    ra, dec = wcs.all_pix2world(x_px, y_px, 0)
    return ra % 360.0, dec


def to_pixels(wcs: WCS, ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions of sky positions in or near the image; NaN where there is no solution."""
    try:
        x, y = wcs.all_world2pix(ra_deg, dec_deg, 0)
    except NoConvergence as error:
        lost = [part for part in (error.divergent, error.slow_conv) if part is not None]
        x, y = error.best_solution.T
        x[np.concatenate(lost)] = y[np.concatenate(lost)] = np.nan
    return x, y


def get_field_of_view(wcs: WCS, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Centre (RA, Dec) and radius in degrees of the circle through the farthest image corner."""
    ny, nx = shape
    x = np.array([(nx - 1) / 2, -0.5, nx - 0.5, -0.5, nx - 0.5])
    y = np.array([(ny - 1) / 2, -0.5, -0.5, ny - 0.5, ny - 0.5])
    ra, dec = to_sky(wcs, x, y)
    return ra[0], dec[0], get_separation_deg(ra, dec, ra[0], dec[0]).max()
