"""Settings of simulations, from plain values as a configuration file has them.

Standard library only: the workflow reads this module for the names of the frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ztfpsf.dome import LEDS
from ztfpsf.errors import InputError
from ztfpsf.nights import to_date

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnySettings = TypeVar("AnySettings", bound="DataclassInstance")
PROFILES = ("kolmogorov", "moffat")

# Coefficients of 1, u, v, u^2 + v^2, where u and v are the field coordinates of `FieldMap`.
Trend = tuple[float, float, float, float]
NO_TREND: Trend = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class PsfSettings:
    """Profile and how it varies over the field; every trend is (1, u, v, u^2 + v^2).

    fwhm_px is the profile's own FWHM, before optics and pixel; fwhm_trend multiplies it by
    1 + trend. g1, g2 are reduced shears of the profile. The aberrations are amplitudes of Noll's
    Zernike polynomials 4 to 10 in waves; with all of them zero there is no optical PSF at all.
    moffat_alpha is the exponent in (1 + r^2/gamma^2)^(-alpha). n_struts hold the obstruction of the
    pupil; diffusion_px is the sigma of the charge's diffusion. folding_threshold is the part of
    the light that may be folded back from beyond the Fourier transforms of the optics: diffraction
    has wings of r^-3, which end at some ten pixels with GalSim's own 0.005, at 20 with 0.002 and at
    40 with 0.001 (and five times the time).
    """

    profile: str = "kolmogorov"
    fwhm_px: float = 1.9
    moffat_alpha: float = 2.9
    fwhm_trend: Trend = NO_TREND
    g1: Trend = NO_TREND
    g2: Trend = NO_TREND
    defocus_waves: Trend = (0.15, 0.06, -0.04, 0.05)
    oblique_astigmatism_waves: Trend = (0.02, 0.06, 0.0, 0.02)
    astigmatism_waves: Trend = (-0.01, 0.0, 0.06, 0.0)
    vertical_coma_waves: Trend = (0.02, 0.0, 0.04, 0.0)
    horizontal_coma_waves: Trend = (0.01, 0.04, 0.0, 0.0)
    vertical_trefoil_waves: Trend = NO_TREND
    oblique_trefoil_waves: Trend = NO_TREND
    n_struts: int = 0
    diffusion_px: float = 0.0
    folding_threshold: float = 2e-3

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise InputError(
                f"psf profile '{self.profile}' is unknown; choose one of {', '.join(PROFILES)}."
            )
        if not 0.5 <= self.fwhm_px <= 20:
            raise InputError(f"psf fwhm_px is {self.fwhm_px}; give a value from 0.5 to 20.")
        if not 1.1 < self.moffat_alpha < 50:
            raise InputError(f"psf moffat_alpha is {self.moffat_alpha}; give more than 1.1.")

    @property
    def aberrations(self) -> tuple[Trend, ...]:
        return (
            self.defocus_waves,
            self.oblique_astigmatism_waves,
            self.astigmatism_waves,
            self.vertical_coma_waves,
            self.horizontal_coma_waves,
            self.vertical_trefoil_waves,
            self.oblique_trefoil_waves,
        )


@dataclass(frozen=True)
class DetectorSettings:
    """Amplitudes of the detector's effects; each amplifier draws its own values.

    Spreads are relative standard deviations between amplifiers. `linearity_table` None is a
    linear detector.
    """

    nx: int = 3072
    ny: int = 3080
    overscan_columns: int = 30
    gain: float = 6.2  # e-/ADU
    gain_spread: float = 0.02
    read_noise_electron: float = 9.5
    read_noise_spread: float = 0.05
    bias_adu: float = 120.0
    bias_structure_adu: float = 2.0
    overscan_tilt_adu: float = 0.6
    deferred_charge: float = 0.11
    deferred_columns: float = 1.3
    pocket_adu: float = 0.0
    pocket_sharpness: float = 2.0
    pixel_response: float = 0.008
    vignetting: float = 0.15
    led_gradient: float = 0.01
    hot_fraction: float = 2e-5
    hot_electron_s: float = 300.0
    dead_fraction: float = 2e-5
    dead_columns: int = 1
    full_well_adu: float = 62000.0
    linearity_table: str | None = None

    def __post_init__(self) -> None:
        if min(self.nx, self.ny) < 16 or self.overscan_columns < 1:
            raise InputError(
                f"a quadrant of {self.nx} x {self.ny} px with {self.overscan_columns} overscan "
                "columns is too small; give at least 16 x 16 and 1."
            )


@dataclass(frozen=True)
class SkySettings:
    """Stars and sky of every exposure.

    `catalogue` is a parquet table of ra, dec (deg) and mag, or None for random stars, whose counts
    follow 10^(slope m) between the magnitudes. Fluxes and the sky are in ADU of the
    calibrated image, whose flat has the median 1 over the CCD.
    """

    catalogue: str | None = None
    stars_per_quadrant: int = 4000
    brightest_mag: float = 12.0
    faintest_mag: float = 20.5
    magnitude_slope: float = 0.2
    sky_adu: float = 150.0
    zeropoint_mag: float = 26.2
    cosmic_rays_per_mpx_s: float = 0.1
    brighter_fatter: float = 0.0  # strength in GalSim's silicon sensor; 0 is none
    brighter_fatter_faintest_mag: float = 16.0


@dataclass(frozen=True)
class NightSettings:
    """The frames of a night: biases, flats of each LED, exposures in the filters of the LEDs."""

    seed: int = 1
    night: str = "20200924"
    field_id: int = 655
    ra_deg: float = 55.0608
    dec_deg: float = 33.35
    ccdids: tuple[int, ...] = (13,)
    leds: tuple[int, ...] = (7, 8)
    n_biases: int = 5
    n_flats_per_led: int = 3
    n_exposures: int = 1
    exptime_s: float = 30.0
    flat_exptime_s: float = 5.0
    flat_level_adu: float = 15000.0
    dither_px: float = 20.0
    sky: SkySettings = field(default_factory=SkySettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    psf: PsfSettings = field(default_factory=PsfSettings)

    def __post_init__(self) -> None:
        to_date(self.night)
        if not self.ccdids or not set(self.ccdids) <= set(range(1, 17)):
            raise InputError(f"ccdids is {list(self.ccdids)}; give numbers from 1 to 16.")
        known = [led for leds in LEDS.values() for led in leds]
        if not self.leds or not set(self.leds) <= set(known):
            raise InputError(f"leds is {list(self.leds)}; give LEDs of {LEDS}.")

    @property
    def filters(self) -> dict[str, tuple[int, ...]]:
        """The LEDs of each filter that has any."""
        chosen = {name: tuple(sorted(set(leds) & set(self.leds))) for name, leds in LEDS.items()}
        return {name: leds for name, leds in chosen.items() if leds}


def make_settings(kind: type[AnySettings], values: Mapping[str, Any], where: str) -> AnySettings:
    """A settings object from a mapping; keys left out keep their defaults.

    Raises InputError for a key that does not exist, naming `where` it stands.
    """
    known = {item.name: item for item in fields(kind)}
    for key in values:
        if key not in known:
            raise InputError(f"{where} has no key '{key}'; use one of {', '.join(known)}.")
    return kind(
        **{key: _convert(known[key], value, f"{where}: {key}") for key, value in values.items()}
    )


def _convert(item: Any, value: Any, where: str) -> Any:
    if isinstance(item.type, type) and is_dataclass(item.type):
        return make_settings(item.type, value, where)
    return tuple(value) if isinstance(value, list) else value
