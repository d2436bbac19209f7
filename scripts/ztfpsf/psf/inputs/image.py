"""The stars of one image, as the fits see them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ztfpsf.pocket.law import NO_POCKET, LocalPocket, Pocket
from ztfpsf.psf.profile.field import field_basis

if TYPE_CHECKING:
    from ztfpsf.stamps import Stamps


class ImageStamps(NamedTuple):
    """Stars of one image, n of them, stamps of S x S px."""

    image: str
    data: np.ndarray  # (n, S, S) ADU, sky included
    variance: np.ndarray  # (n, S, S) ADU^2, a first estimate
    good: np.ndarray  # (n, S, S) bool
    sky_adu: np.ndarray  # (n,)
    x_px: np.ndarray  # (n,) position in the image
    y_px: np.ndarray
    x0_px: np.ndarray  # (n,) int, image column of the stamp's first column
    y0_px: np.ndarray
    is_reserved: np.ndarray  # (n,) bool
    gain: float  # e-/ADU, of the header as the read noise
    read_noise_electron: float
    nx: int
    ny: int
    sky_level_adu: float = 0.0  # of the image
    sky_variance_adu2: float = float("nan")  # measured there; NaN: gain and read noise say it
    sky_error_adu: np.ndarray | None = None  # (n,) of sky_adu; None or NaN: it is not known
    pocket: Pocket = NO_POCKET  # that its rows were read through

    @property
    def size_px(self) -> int:
        return self.data.shape[-1]

    @property
    def centre_px(self) -> np.ndarray:
        """Image coordinates of the central pixels of the stamps, (n, 2)."""
        return np.stack([self.x0_px, self.y0_px], axis=1) + self.size_px // 2

    @property
    def local_pocket(self) -> LocalPocket:
        """That of each star, (n, ...)."""
        return self.pocket.at(self.x_px, self.y_px, self.nx, self.ny)

    def basis(self, degree: int) -> np.ndarray:
        """Field polynomial terms at all stars, (n, B)."""
        return field_basis(self.x_px, self.y_px, self.nx, self.ny, degree)


def take_image(stamps: "Stamps") -> ImageStamps:
    """The stars of a stamps file that holds one image, or of one that was read alone."""
    (_, row), *_ = stamps.images.iterrows()
    stars = stamps.stars
    return ImageStamps(
        image=str(row["image"]),
        data=stamps.data.astype(float),
        variance=stamps.variance.astype(float),
        good=stamps.mask == 0,
        **{name: stars[name].to_numpy() for name in ("sky_adu", "x_px", "y_px", "x0_px", "y0_px")},
        is_reserved=stars["is_reserved"].to_numpy(bool),
        gain=float(row["gain"]),
        read_noise_electron=float(row["read_noise_electron"]),
        nx=int(row["nx"]),
        ny=int(row["ny"]),
        sky_level_adu=float(row["sky_adu"]),
        sky_variance_adu2=float(row["sky_variance_adu2"]),
        sky_error_adu=stars["sky_error_adu"].to_numpy(float),
    )
