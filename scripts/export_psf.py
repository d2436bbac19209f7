"""Rule export_psf: the PSFs of a fit as a file of PSFEx and as oversampled images."""

import logging
from collections.abc import Mapping
from typing import Any

from ztfpsf.io import make_provenance, read_table
from ztfpsf.jobs import for_each_image, job
from ztfpsf.psf.device import configure
from ztfpsf.quality import require_fitted

logger = logging.getLogger("ztfpsf")


def export_psf(
    *,
    path_to_psf: str,
    path_to_images: str,
    path_to_psfex: str,
    path_to_oversampled: str,
    psfex: Mapping[str, Any],
    oversampled: Mapping[str, Any],
    max_failed_fraction: float,
) -> None:
    """Write both files for the images of a unit, in the order of their names.

    `psfex`: degree, oversampling, size_px; `oversampled`: positions_per_axis, oversampling,
    size_px. An image whose fit failed is left out.
    """
    # A few hundred PSFs are drawn: a GPU is not worth waiting for.
    configure("cpu")
    from ztfpsf.interchange.oversampled import OversampledPsf, make_oversampled, write_oversampled
    from ztfpsf.interchange.psfex import PsfexModel, make_psfex, write_psfex
    from ztfpsf.psf import load_psf

    images = read_table(path_to_images, "fit_psf", ["image", "status"])

    def work(image: str) -> tuple[PsfexModel, OversampledPsf]:
        require_fitted(image, images)
        psf = load_psf(path_to_psf, image)
        model = make_psfex(psf, **psfex)
        logger.info(
            "%s: FWHM %.3f px, %.4f of the light in PSF_MASK; largest error of the polynomial %.1e "
            "of the peak, as GalSim draws it %.1e",
            image,
            model.fwhm_px,
            model.light,
            model.worst_residual,
            model.worst_drawn,
        )
        return model, make_oversampled(psf, **oversampled)

    parts, _ = for_each_image(images["image"], work, max_failed_fraction)
    provenance = make_provenance(
        [path_to_psf], {"psfex": dict(psfex), "oversampled": dict(oversampled)}
    )
    write_psfex([model for model, _ in parts.values()], path_to_psfex, provenance)
    write_oversampled([psf for _, psf in parts.values()], path_to_oversampled, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        export_psf(
            path_to_psf=snakemake.input.psf,
            path_to_images=snakemake.input.images,
            path_to_psfex=snakemake.output.psfex,
            path_to_oversampled=snakemake.output.oversampled,
            psfex=snakemake.params.settings["psfex"],
            oversampled=snakemake.params.settings["oversampled"],
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
