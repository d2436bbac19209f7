"""Settings of a simulated night, from plain values as a configuration file has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from ztfpsf.errors import InputError
from ztfpsf.simulation.detector import DetectorSettings
from ztfpsf.simulation.psf import PsfSettings

Settings = TypeVar("Settings")


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
    """The frames of a night: for every CCD, biases, flats of each filter's LEDs, exposures."""

    seed: int = 1
    night: str = "20200924"
    field_id: int = 655
    ra_deg: float = 55.0608
    dec_deg: float = 33.35
    ccdids: tuple[int, ...] = (13,)
    leds: tuple[tuple[str, tuple[int, ...]], ...] = (("zr", (7, 8)),)
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
        if len(self.night) != 8 or not self.night.isdigit():
            raise InputError(f"night is '{self.night}'; give a UT date as YYYYMMDD.")
        if not self.ccdids or not set(self.ccdids) <= set(range(1, 17)):
            raise InputError(f"ccdids is {list(self.ccdids)}; give numbers from 1 to 16.")
        unknown = {name for name, _ in self.leds} - {"zg", "zr", "zi"}
        if unknown:
            raise InputError(f"leds has the filter '{min(unknown)}'; use zg, zr and zi.")


def make_settings(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
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
    if isinstance(value, Mapping):
        return tuple((name, _tuple(part)) for name, part in value.items())
    return _tuple(value)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
