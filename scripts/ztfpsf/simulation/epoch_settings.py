"""Settings of a simulated series of exposures, and the names of its images.

Standard library only: the workflow reads this module for the names of the images.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from ztfpsf.errors import InputError
from ztfpsf.names import QuadrantName
from ztfpsf.nights import to_date
from ztfpsf.target_sheet import Target

TARGET = "SIM1"
LATITUDE_DEG, LONGITUDE_DEG = 33.3563, -116.8648
J2000 = date(2000, 1, 1)
# Sidereal angle at Greenwich at 0 h UT of that day, and degrees a day (Meeus 1998).
SIDEREAL_DEG, SIDEREAL_DEG_DAY = 99.967795, 360.98564736629
LARGEST_HOUR_ANGLE_DEG = 55.0
GOLDEN = 0.381966


@dataclass(frozen=True)
class EpochSettings:
    """Exposures of a part of one quadrant, with a supernova in a galaxy at its middle.

    Seeing is drawn between the two of `fwhm_px`; `psf_gradient` is the rms change of FWHM
    (relative) and ellipticity from the centre to the edge, anew in each exposure. Every tenth star
    moves ten times as fast as `motion_mas_yr`. Light refracts at `wavelength_nm`, that of a star
    redder by 1 mag at `wavelength_slope_nm` more. The supernova shines from the exposure
    `first_light_epoch` on, but not in the last `n_after`.
    """

    seed: int = 1
    first_night: str = "20200901"
    n_epochs: int = 12
    step_days: int = 18
    field_id: int = 655
    filtercode: str = "zr"
    ccdid: int = 13
    qid: int = 3
    ra_deg: float = 58.0
    dec_deg: float = 35.75
    size_px: int = 512
    n_stars: int = 60
    brightest_mag: float = 14.0
    faintest_mag: float = 18.0
    host_mag: float = 17.5
    host_radius_px: float = 2.5
    host_distance_px: float = 1.5
    peak_mag: float = 18.0
    colour_mag: float = 0.2
    first_light_epoch: int = 5
    n_after: int = 2
    fwhm_px: tuple[float, float] = (1.6, 2.8)
    moffat_alpha: float = 2.9
    ellipticity: float = 0.02
    psf_gradient: float = 0.01
    motion_mas_yr: float = 20.0
    wavelength_nm: float = 640.0
    wavelength_slope_nm: float = 12.0
    cloud_mag: float = 0.3
    cloud_gradient_mag: float = 0.01
    dither_px: float = 8.0
    sky_adu: float = 150.0
    gain: float = 6.2
    read_noise_electron: float = 9.5
    saturation_adu: float = 55000.0
    zeropoint_mag: float = 26.2
    colour_term: float = 0.02
    exptime_s: float = 30.0

    def __post_init__(self) -> None:
        to_date(self.first_night)
        if not 0 < self.first_light_epoch < self.n_epochs - self.n_after:
            raise InputError(
                f"first_light_epoch is {self.first_light_epoch}, n_after {self.n_after}; of "
                f"{self.n_epochs} epochs some must be before the supernova, some with it."
            )


def find_hour_angle_deg(number: int) -> float:
    """Of the middle of an exposure: spread evenly on both sides of the meridian, in any order."""
    return LARGEST_HOUR_ANGLE_DEG * (2.0 * (number * GOLDEN % 1.0) - 1.0)


def list_epochs(settings: EpochSettings) -> list[QuadrantName]:
    """The images in the order of time; they begin when the hour angle is that of the exposure.

    ASSUME: the Sun is always down.
    """
    first = date.fromisoformat(settings.first_night)
    names = []
    for number in range(settings.n_epochs):
        day = first + timedelta(days=number * settings.step_days)
        at_midnight = SIDEREAL_DEG + SIDEREAL_DEG_DAY * (day - J2000).days + LONGITUDE_DEG
        later = (settings.ra_deg + find_hour_angle_deg(number) - at_midnight) % 360.0
        begin = later / SIDEREAL_DEG_DAY - settings.exptime_s / 2 / 86400
        names.append(
            QuadrantName(
                f"{day:%Y%m%d}{int(1e6 * max(begin, 0.0)):06d}",
                settings.field_id,
                settings.filtercode,
                settings.ccdid,
                settings.qid,
            )
        )
    return names


def make_target(settings: EpochSettings) -> Target:
    """The supernova, as a target sheet has it: half a step around the dates with its light."""
    names = list_epochs(settings)
    half = settings.step_days / 2
    last = len(names) - 1 - settings.n_after
    return Target(
        TARGET,
        settings.ra_deg,
        settings.dec_deg,
        names[settings.first_light_epoch].mjd - half,
        names[last].mjd + half,
        (settings.filtercode,),
        settings.colour_mag,
    )
