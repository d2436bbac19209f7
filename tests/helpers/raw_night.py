"""A night of one CCD on disk, with the truth about it, through the adapters."""

import numpy as np
from calibrate_science import calibrate_science
from make_master_bias import make_master_bias
from make_master_flat import make_master_flat
from normalise_flats import normalise_flats
from raw_frames import DETECTOR, GAIN, NIGHT, NX, NY, READ_NOISE, raw_name, write_raw
from ztfpsf.calibration.linearity import coefficients
from ztfpsf.simulation.linearity import measured_adu

CCDID = 6
N_BIAS, N_SKIP = 12, 2
LEDS = {7: 9000.0, 8: 15000.0, 9: 20000.0, 10: 12000.0}
N_FLATS = 5
READ_ADU = READ_NOISE / GAIN
COMBINE = {"min_frames": 3, "clip_sigma": 4.0, "max_outlier_fraction": 0.05}
BIAS_SETTINGS = {**COMBINE, "n_skip": N_SKIP, "hot_sigma": 10.0}
FLAT_SETTINGS = {
    **COMBINE,
    "led_weights": None,
    "response": {"dead": 0.1, "low": 0.8, "high": 1.2},
}
COSMICS = {
    "sigma_clip": 5.0,
    "margin_sigma": 3.0,
    "stars_quantile": 0.03,
    "safety": 0.7,
    "bright_sigma": 50.0,
    "min_stars": 30,
    "grow_px": 2,
}
SCIENCE_SETTINGS = {
    "star_flat": None,
    "saturation_grow_px": 1,
    "cosmics": COSMICS,
    "compress": "none",
}
FLAT_LEVEL = np.mean(list(LEDS.values()))
SKY = 300.0
HOT, DEAD, LOW, SATURATED, HIT = (0, 20, 30), (1, 40, 50), (2, 60, 70), (0, 50, 90), (3, 30, 64)


def measured(linear_adu):
    """What the amplifiers of the CCD make of a linear signal, (4, ny, nx)."""
    return np.stack([measured_adu(linear_adu[i], *coefficients(NIGHT, CCDID, i)) for i in range(4)])


def truth():
    """Bias structure in ADU, and the response of the CCD relative to its median."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:NY, 0:NX]
    bias = rng.normal(0, 2, (4, NY, NX)) + 1.5 * np.sin(x / 9.0)
    bias[HOT] += 400
    response = 1 + 0.01 * rng.normal(size=(4, NY, NX)) - 0.1 * (x / NX) ** 2 * (y / NY)
    response *= np.array([0.98, 1.0, 1.01, 1.03])[:, None, None]
    response[DEAD], response[LOW] = 0.001, 0.5
    return bias, response / np.median(response)


def levels(frame):
    """Overscan level of each row: tilted, each quadrant its own way, different in each frame."""
    slope = np.array([3.0, -3.0, 1.0, -1.0])[:, None]
    return 100 + frame + slope * np.linspace(0, 1, NY)


def photons(rng, linear_adu):
    return rng.poisson(linear_adu * GAIN) / GAIN


class Night:
    """Files and truth of a night."""

    def __init__(self, folder):
        self.folder = folder
        self.bias, self.response = truth()
        rng = np.random.default_rng(11)
        measured_bias = measured(self.bias)
        self.biases = []
        for i in range(N_BIAS):
            signal = measured_bias + (1000 if i == 5 else 0)
            signal[1, 10 + i, 20] += 500  # one hit per frame
            name = raw_name("b", 80000 + i)
            self.biases.append(write_raw(folder, name, signal, level=levels(i), seed=i))
        self.flats = []
        for led, level in LEDS.items():
            for i in range(N_FLATS):
                lamp = 1 + 0.02 * rng.normal()
                signal = photons(rng, level * lamp * self.response) + self.bias
                signal[2, 15, 3 * i + 10] += 3000
                path = write_raw(
                    folder,
                    raw_name("f", 100 * led + i),
                    measured(signal),
                    level=levels(i),
                    led=led,
                    seed=1000 * led + i,
                )
                self.flats.append(path)
        self.sky = SKY * (1 + 0.2 * np.linspace(0, 1, NX)) * np.ones((4, NY, NX))
        signal = photons(rng, self.sky * self.response) + self.bias
        signal[SATURATED] = 65000
        signal[HIT] += 800
        self.science = write_raw(
            folder, self.science_name(), measured(signal), level=levels(3), seed=5
        )

    @staticmethod
    def science_name():
        return raw_name("o", 300000, field=517)

    def make_bias(self, path, frames=None, **changes):
        make_master_bias(
            paths_to_frames=[str(p) for p in (self.biases if frames is None else frames)],
            path_to_bias=str(path),
            night=NIGHT,
            ccdid=CCDID,
            detector=DETECTOR,
            settings={**BIAS_SETTINGS, **changes},
        )
        return path

    def make_flat(self, path, frames=None, **changes):
        make_master_flat(
            paths_to_frames=[str(p) for p in (self.flats if frames is None else frames)],
            path_to_bias=str(self.folder / "bias.fits"),
            path_to_flat=str(path),
            night=NIGHT,
            filtercode="zr",
            ccdid=CCDID,
            detector=DETECTOR,
            settings={**FLAT_SETTINGS, **changes},
            missing="",
        )
        return path

    @staticmethod
    def normalise(path_to_flat, path):
        normalise_flats(
            paths_to_flats=[str(path_to_flat)],
            path_to_focal_plane=str(path),
            ccdids=[CCDID],
            min_ccds=1,
        )

    def calibrate(self, folder, raw=None, ipac=(), missing="", **changes):
        stem = str(folder / self.science_name().removesuffix(".fits.fz"))
        products = {
            kind: [f"{stem}_q{q}_{kind}.fits" for q in range(1, 5)]
            for kind in ("sciimg", "varimg", "mskimg")
        }
        calibrate_science(
            path_to_raw=str(raw or self.science),
            path_to_bias=str(self.folder / "bias.fits"),
            path_to_flat=str(self.folder / "flat.fits"),
            path_to_focal_plane=str(self.folder / "focal.json"),
            paths_to_ipac=[str(path) for path in ipac],
            paths_to_sciimg=products["sciimg"],
            paths_to_varimg=products["varimg"],
            paths_to_mskimg=products["mskimg"],
            path_to_status=str(folder / "status.json"),
            detector=DETECTOR,
            settings={**SCIENCE_SETTINGS, **changes},
            missing=missing,
        )
        return products


def make_night(folder):
    """A night with its masters."""
    night = Night(folder)
    night.make_bias(folder / "bias.fits")
    night.make_flat(folder / "flat.fits")
    night.normalise(folder / "flat.fits", folder / "focal.json")
    return night
