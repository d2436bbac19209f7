"""The judge of `make bench`: what it says of PSFs that are perfect, too wide, or off."""

import numpy as np
import pandas as pd
import pytest
from judge import draw_truth, judge
from report import make_table, replace_part
from star_sets import HALF_SIZE_PX, OVERSAMPLING, Stars, Truth, make_grid
from ztfpsf.simulation.psf import PsfSettings, TruePsf, quadrant_field
from ztfpsf.simulation.settings import NO_TREND
from ztfpsf.stamps import IMAGE_COLUMNS, STAR_COLUMNS, Stamps

SIZE, NX, NY, N_STARS = 25, 500, 400, 8
SKY_ADU, GAIN, READ_NOISE = 150.0, 6.2, 10.0
AIRY_FREE = dict.fromkeys(
    (
        "defocus_waves",
        "oblique_astigmatism_waves",
        "astigmatism_waves",
        "vertical_coma_waves",
        "horizontal_coma_waves",
    ),
    NO_TREND,
)


@pytest.fixture(scope="module")
def stars() -> Stars:
    """Two stars in each magnitude bin, all reserved, and their noiseless stamps."""
    settings = PsfSettings(profile="moffat", fwhm_px=2.0, moffat_alpha=3.5, **AIRY_FREE)
    psf = TruePsf(settings, quadrant_field(NX, NY))
    random = np.random.default_rng(3)
    x, y = (random.uniform(50, length - 50, N_STARS) for length in (NX, NY))
    mag = np.linspace(14.1, 17.9, N_STARS)
    flux = 10 ** (0.4 * (26.2 - mag))
    noiseless = SKY_ADU + np.array(
        [f * psf.stamp(*position, SIZE) for f, *position in zip(flux, x, y, strict=True)]
    )
    table = pd.DataFrame({"image": "", "star_id": "", "mag": mag, "x_px": x, "y_px": y})
    for axis in "xy":
        table[f"{axis}0_px"] = np.floor(table[f"{axis}_px"] + 0.5).astype(int) - SIZE // 2
        # Catalogues err a little.
        table[f"{axis}_px"] += random.normal(0, 0.02, N_STARS)
    table = table.assign(sky_adu=SKY_ADU, is_reserved=True).reindex(columns=list(STAR_COLUMNS))
    numbers = {"gain": GAIN, "read_noise_electron": READ_NOISE, "nx": NX, "ny": NY}
    image = pd.DataFrame([numbers | {"saturation_adu": 5e4}]).reindex(columns=list(IMAGE_COLUMNS))
    stamps = Stamps(image, table, noiseless, noiseless / GAIN, np.zeros(noiseless.shape, np.uint8))
    truth = Truth(psf, x, y, mag, flux, noiseless)
    return Stars(stamps, np.ones(N_STARS, bool), make_grid(NX, NY)[:4], truth)


@pytest.fixture(scope="module")
def true_images(stars: Stars) -> np.ndarray:
    return draw_truth(stars.truth, stars.positions)


def test_the_truth_is_perfect(stars: Stars, true_images: np.ndarray) -> None:
    figures = judge(true_images, stars)
    assert figures["l2_median"] < 1e-5
    assert abs(figures["size_bias"]) < 1e-6
    assert abs(figures["flux_bias_mmag"]) < 0.01
    assert figures["position_rms_mpx"] < 0.01
    # 80 stars: 8 per cent. Four parameters of 49 pixels are fitted.
    assert figures["flux_pull_width"] == pytest.approx(1.0, abs=0.25)
    assert figures["core_chi2"] == pytest.approx([0.93] * 4, abs=0.15)


def test_a_wide_psf_is_found_out(stars: Stars, true_images: np.ndarray) -> None:
    wide = stars.truth.psf.settings.__class__(
        profile="moffat", fwhm_px=2.04, moffat_alpha=3.5, **AIRY_FREE
    )
    drawn = draw_truth(
        stars.truth._replace(psf=stars.truth.psf._replace(settings=wide)), stars.positions
    )
    figures = judge(drawn, stars)
    assert 0.005 < figures["l2_median"] < 0.03
    assert 0.02 < figures["size_bias"] < 0.05
    assert figures["core_chi2"][0] > 2 > figures["core_chi2"][3]


def test_flux_and_position_are_those_of_the_code(stars: Stars, true_images: np.ndarray) -> None:
    # Drawn 1/8 px to the right and 1 per cent too bright: fluxes low by as much, positions left.
    shifted = 1.01 * np.roll(true_images, 1, axis=-1)
    figures = judge(shifted, stars)
    assert figures["flux_bias_mmag"] == pytest.approx(10.8, abs=0.1)
    assert figures["flux_scatter_mmag"] < 0.1
    assert figures["position_bias_mpx"] == pytest.approx(125.0, abs=1.0)
    # Neither is an error of the PSF's shape.
    assert figures["l2_median"] < 3e-3
    width = 2 * OVERSAMPLING * HALF_SIZE_PX + 1
    assert shifted.shape[1:] == (width, width)


def test_table_goes_between_the_marks(tmp_path) -> None:
    rows = {"a": {"core_chi2": [12.3, 3.456, 1, 1], "seconds": 1.234, "cold_s": 12.3}}
    table = make_table(rows)
    assert table.splitlines()[2] == "| a | 12.3 | 3.46 | 1.00 | 1.00 | 1.23 (12) |"
    document = tmp_path / "numbers.md"
    begin, end = "<!-- figures: make b -->\n", "<!-- end of figures -->\n"
    other = f"<!-- figures: make a -->\nkept\n{end}"
    document.write_text(f"{other}before\n{begin}old\n{end}after\n")
    for _ in range(2):
        replace_part(document, "make b", table)
        assert document.read_text() == f"{other}before\n{begin}\n{table}\n{end}after\n"
