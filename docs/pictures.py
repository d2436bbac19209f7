"""Copy two pictures of the demo to this folder, for the README: in 256 colours, a third in size."""

from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent
FIT = "results/plot_psf/moffat_grid/gauss_newton/ztf_20200924431759_000655_zr_c13_o_q3"


def copy_picture(source: Path, target: Path) -> None:
    """Write a picture in 256 colours of its own."""
    with Image.open(source) as picture:
        # Colours that are far apart, then nearer to what is there: colour bars keep their ends.
        method = Image.Quantize.MAXCOVERAGE
        small = picture.convert("RGB").quantize(256, method=method, kmeans=2)
        small.save(target, optimize=True)


if __name__ == "__main__":
    for name in ("star", "psf"):
        copy_picture(FOLDER.parent / f"{FIT}_{name}.png", FOLDER / f"{name}.png")
