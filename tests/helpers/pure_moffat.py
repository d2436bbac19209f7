"""A PSF that the Moffat model can describe exactly."""

from ztfpsf.simulation.settings import NO_TREND, PsfSettings

PURE_MOFFAT = PsfSettings(
    profile="moffat",
    fwhm_px=2.0,
    fwhm_trend=(0.0, 0.05, -0.03, 0.02),
    g1=(0.02, 0.02, 0.0, 0.0),
    g2=(-0.01, 0.0, 0.02, 0.0),
    defocus_waves=NO_TREND,
    oblique_astigmatism_waves=NO_TREND,
    astigmatism_waves=NO_TREND,
    vertical_coma_waves=NO_TREND,
    horizontal_coma_waves=NO_TREND,
)
