"""Cut stamps out of an image: pixels, local sky, variance, mask."""

import numpy as np
import pandas as pd
from astropy.io import fits
from scipy.ndimage import convolve1d
from scipy.spatial import cKDTree

from ztfpsf.cards import get_number
from ztfpsf.errors import InputError
from ztfpsf.noise import model_variance, read_variance, split_constant
from ztfpsf.ring import ring_radii
from ztfpsf.robust import MAD_TO_SIGMA
from ztfpsf.stamps import (
    APCOR_COLUMNS,
    IMAGE_COLUMNS,
    N_APCOR,
    STAR_COLUMNS,
    Stamps,
)
from ztfpsf.stars.images import ScienceImage, Sky
from ztfpsf.stars.isolation import HALF_LIGHT_TO_GAMMA, MOFFAT_BETA
from ztfpsf.stars.sky_noise import SkyNoise, find_blank, measure_sky_noise

# Pixels of the ring further from its median are left out.
RING_CLIP_SIGMA = 4.0
# Fewer blank pixels in a ring do not tell its sky.
MIN_RING_PIXELS = 50
SMOOTHING = (0.25, 0.5, 0.25)
# A neighbour's pixels are masked where it adds more than this many times the sky noise.
NEIGHBOUR_LEVEL = 0.3
# How far from the star its neighbours are looked for, in stamp sizes: the corner is at 0.71.
NEIGHBOUR_REACH = 1.0


def cut_image(
    name: str,
    image: ScienceImage,
    sky: Sky,
    sources: pd.DataFrame,
    size_px: int,
    variance: np.ndarray | None = None,
) -> Stamps:
    """Stamps of the kept stars of one image; `sources` are its rows of select_stars, all of them.

    The stamp is centred on the pixel nearest to the star. Masked are pixels that are bad,
    saturated, or lit by another source (see _mask_neighbours). A pixel that is not finite holds
    the local sky. Variance = max(smoothed image, sky) / gain + (read noise / gain)^2: raw pixels
    as their own variance would favour low values. Where the calibration gives a `variance` plane
    (ny, nx), it is that one, its photon noise smoothed in the same way, and pixels where it is NaN
    are masked. Raises InputError when a stamp reaches over the edge of the image.
    """
    if size_px < 3 or size_px % 2 == 0:
        raise InputError(f"cut_stamps: size_px is {size_px}; it must be odd and at least 3.")
    stars = sources[sources["reason"] == ""]
    x0, y0 = (
        np.floor(stars[key].to_numpy() + 0.5).astype(np.int32) - size_px // 2
        for key in ("x_px", "y_px")
    )
    _check_inside(x0, y0, size_px, image)
    steps = np.arange(size_px)
    cut = (y0[:, None, None] + steps[:, None], x0[:, None, None] + steps)
    data = image.data[cut]
    is_blank = find_blank(image, sky)
    local = measure_local_sky(image.data, is_blank, sky, x0, y0, size_px)
    local_sky = local["sky_adu"]
    data = np.where(np.isfinite(data), data, local_sky[:, None, None])
    bad = image.bad[cut] | image.saturated[cut]
    if variance is not None:
        variance = variance[cut]
        bad |= np.isnan(variance)
    table = stars.assign(image=name, x0_px=x0, y0_px=y0, **local)
    described = describe_image(name, image, sky, measure_sky_noise(sky, is_blank))
    n_limited = int((sources["reason"] == "magnitude").sum())
    return Stamps(
        described.assign(limited_fraction=n_limited / max(n_limited + len(stars), 1)),
        table[list(STAR_COLUMNS)],
        data,
        make_variance(image, data, bad, local_sky, variance),
        (bad | _mask_neighbours(table, sources, data)).astype(np.uint8),
    )


def _check_inside(x0: np.ndarray, y0: np.ndarray, size_px: int, image: ScienceImage) -> None:
    ny, nx = image.data.shape
    inside = (x0 >= 0) & (y0 >= 0) & (x0 + size_px <= nx) & (y0 + size_px <= ny)
    if not inside.all():
        raise InputError(
            f"{image.path}: a stamp of {size_px} px reaches over the edge of the image; "
            "select the stars again with this cut_stamps: size_px."
        )


def _mask_neighbours(stars: pd.DataFrame, sources: pd.DataFrame, data: np.ndarray) -> np.ndarray:
    """Pixels (n, size, size) where another source adds more than NEIGHBOUR_LEVEL of the sky noise.

    Left in, the neighbours that isolation permits add half a per cent to the wings of the mean
    star. Their light is that of a Moffat profile with the star's half-light radius, scaled by
    the difference of magnitudes. Never masked: pixels nearer to the star than to the neighbour.
    """
    size = data.shape[-1]
    masked = np.zeros(data.shape, dtype=bool)
    if len(stars) == 0:
        return masked
    tree = cKDTree(sources[["x_px", "y_px"]])
    source_mag = sources["mag"].to_numpy()
    positions = sources[["x_px", "y_px"]].to_numpy()
    flux = _measure_flux(stars, data)
    gamma = stars["half_light_radius_px"].to_numpy() * HALF_LIGHT_TO_GAMMA
    peak = flux * (MOFFAT_BETA - 1) / (np.pi * gamma**2) / stars["sky_rms_adu"].to_numpy()
    dy, dx = np.mgrid[:size, :size]
    columns = ("x_px", "y_px", "x0_px", "y0_px", "mag")
    for i, (x, y, x0, y0, mag) in enumerate(zip(*(stars[c] for c in columns), strict=True)):
        near = np.array(tree.query_ball_point((x, y), NEIGHBOUR_REACH * size), dtype=int)
        near = near[np.hypot(*(positions[near] - (x, y)).T) > 0]
        excess = peak[i] * 10 ** (-0.4 * (source_mag[near] - mag)) / NEIGHBOUR_LEVEL
        own = (dx + x0 - x) ** 2 + (dy + y0 - y) ** 2
        seen = excess > 1
        for (x_near, y_near), ratio in zip(positions[near[seen]], excess[seen], strict=True):
            distance = (dx + x0 - x_near) ** 2 + (dy + y0 - y_near) ** 2
            lit = (1 + distance / gamma[i] ** 2) ** MOFFAT_BETA < ratio
            masked[i] |= lit & (distance < own)
    return masked


def _measure_flux(stars: pd.DataFrame, data: np.ndarray) -> np.ndarray:
    """Flux (n,) in ADU within four half-light radii."""
    steps = np.arange(data.shape[-1])
    dx = steps + (stars["x0_px"] - stars["x_px"]).to_numpy()[:, None]
    dy = steps + (stars["y0_px"] - stars["y_px"]).to_numpy()[:, None]
    radius = 4 * stars["half_light_radius_px"].to_numpy()[:, None, None]
    inside = np.hypot(dx[:, None, :], dy[:, :, None]) <= radius
    return (data - stars["sky_adu"].to_numpy()[:, None, None]).sum(axis=(1, 2), where=inside)


def measure_local_sky(
    data: np.ndarray, is_blank: np.ndarray, sky: Sky, x0: np.ndarray, y0: np.ndarray, size_px: int
) -> dict[str, np.ndarray]:
    """Mean of the blank pixels in the ring around each stamp, their scatter (1.4826 MAD) and the
    error of the mean, (n,) float32 ADU.

    A mean, as the stamp's pixels are fitted: faint sources lift both alike; of pixels whose
    opposite is blank, too, so that a slope of the sky cancels. Where there are too few, the others
    must do, and where these are too few the image; the error is then NaN.
    """
    half = size_px // 2
    inner, outer = ring_radii(size_px)
    dy, dx = np.mgrid[-outer : outer + 1, -outer : outer + 1]
    ring = (np.hypot(dx, dy) > inner) & (np.hypot(dx, dy) <= outer)
    ny, nx = data.shape
    column = (x0 + half)[:, None] + dx[ring]
    row = (y0 + half)[:, None] + dy[ring]
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    cut = (row.clip(0, ny - 1), column.clip(0, nx - 1))
    used = inside & is_blank[cut]
    paired = used & used[:, ::-1]
    is_even = paired.sum(axis=1) >= MIN_RING_PIXELS
    used = np.where(is_even[:, None], paired, used)
    is_known = used.sum(axis=1) >= MIN_RING_PIXELS
    values = np.where(used, data[cut], np.nan)
    values[~is_known] = sky.level_adu
    level = np.nanmedian(values, axis=1, keepdims=True)
    rms = MAD_TO_SIGMA * np.nanmedian(np.abs(values - level), axis=1, keepdims=True)
    values[np.abs(values - level) > RING_CLIP_SIGMA * rms] = np.nan
    n = np.isfinite(values).sum(axis=1)
    rms = np.where(rms[:, 0] > 0, rms[:, 0], np.float32(sky.rms_adu))
    return {
        "sky_adu": np.where(is_known, np.nanmean(values, axis=1), np.float32(sky.level_adu)),
        "sky_rms_adu": np.where(is_known, rms, np.float32(sky.rms_adu)),
        "sky_error_adu": np.where(is_even, rms / np.sqrt(n), np.float32(np.nan)),
    }


def make_variance(
    image: ScienceImage,
    data: np.ndarray,
    mask: np.ndarray,
    local_sky: np.ndarray,
    variance: np.ndarray | None,
) -> np.ndarray:
    """Variance (n, size, size) float32 ADU^2 of sky, star and read-out."""
    floor = np.maximum(local_sky, 0)[:, None, None]
    smooth = np.where(mask, floor, data)
    for axis in (1, 2):
        smooth = convolve1d(smooth, SMOOTHING, axis=axis, mode="nearest")
    default = float(read_variance(image.read_noise_electron, image.gain))
    constant: float | np.ndarray = default
    if variance is not None:
        light = np.maximum(smooth, floor)
        known = split_constant(variance, data, light, image.gain, default)
        constant = np.where(mask, default, known)
    return model_variance(smooth, floor, image.gain, constant).astype(np.float32)


def describe_image(name: str, image: ScienceImage, sky: Sky, noise: SkyNoise) -> pd.DataFrame:
    """The image's row of IMAGES; what a header does not tell and no step needs is NaN."""
    header, (ny, nx) = image.header, image.data.shape
    row = {
        "image": name,
        "status": "ok",
        "gain": image.gain,
        "read_noise_electron": image.read_noise_electron,
        "saturation_adu": image.saturation_adu,
        "magzp_mag": get_number(header, "MAGZP"),
        "seeing_px": get_number(header, "SEEING"),
        "obsmjd": get_number(header, "OBSMJD"),
        "exptime_s": get_number(header, "EXPTIME"),
        "ipac_status": get_number(header, "STATUS"),
        "infobits": get_number(header, "INFOBITS"),
        "nx": nx,
        "ny": ny,
        "sky_adu": sky.level_adu,
        "sky_rms_adu": sky.rms_adu,
        **{f"sky_{name}": value for name, value in noise._asdict().items()},
        "limited_fraction": np.nan,
        **read_apcor(header),
    }
    return pd.DataFrame([row])[list(IMAGE_COLUMNS)]


def read_apcor(header: fits.Header) -> dict[str, float]:
    """IPAC's aperture corrections, PSF minus aperture magnitude: APCOR_COLUMNS; NaN without them.

    FIXAPERS lists the diameters of the apertures in px; images calibrated from raw frames have no
    such cards.
    """
    row = dict.fromkeys(APCOR_COLUMNS, np.nan)
    for n, diameter in zip(range(1, N_APCOR + 1), _read_apertures(header), strict=False):
        row[f"aperture{n}_px"] = diameter
        row[f"apcor{n}_mag"] = get_number(header, f"APCOR{n}")
        row[f"apcor_error{n}_mag"] = get_number(header, f"APCORUN{n}")
    return row


def _read_apertures(header: fits.Header) -> list[float]:
    try:
        return [float(part) for part in str(header.get("FIXAPERS", "nan")).split(",")]
    except ValueError:
        return []
