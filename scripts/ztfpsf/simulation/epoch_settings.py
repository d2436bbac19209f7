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
# Fraction of the day when exposures begin, in 10^-6.
BEGIN = 300000


@dataclass(frozen=True)
class EpochSettings:
    """Exposures of a part of one quadrant, with a supernova in a galaxy at its middle.

    Seeing is drawn between the two of `fwhm_px`. The supernova shines from the exposure
    `first_light_epoch` on, but not in the last `n_after`.
    """

    seed: int = 1
    first_night: str = "20200901"
    n_epochs: int = 12
    step_days: int = 4
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
    first_light_epoch: int = 5
    n_after: int = 2
    fwhm_px: tuple[float, float] = (1.6, 2.8)
    moffat_alpha: float = 2.9
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


def list_epochs(settings: EpochSettings) -> list[QuadrantName]:
    """The images in the order of time."""
    first = date.fromisoformat(settings.first_night)
    days = (
        first + timedelta(days=number * settings.step_days) for number in range(settings.n_epochs)
    )
    return [
        QuadrantName(
            f"{day:%Y%m%d}{BEGIN:06d}",
            settings.field_id,
            settings.filtercode,
            settings.ccdid,
            settings.qid,
        )
        for day in days
    ]


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
    )
