"""Rule export_lightcurve: a light curve in the formats of other programs."""

import ztfpsf
from ztfpsf.io import read_json, read_table
from ztfpsf.jobs import job
from ztfpsf.lightcurve.exports import Curve, dr2, forced, sncosmo
from ztfpsf.lightcurve.files import read_covariance

RULE = "extract_lightcurve"


def export_lightcurve(
    *,
    path_to_lightcurve: str,
    path_to_covariance: str,
    path_to_record: str,
    path_to_sncosmo: str,
    path_to_dr2: str,
    path_to_forced: str,
) -> None:
    """Write a light curve for sncosmo, as DR2 has it, and as the forced photometry service."""
    curve = Curve(
        read_table(path_to_lightcurve, RULE, ["probe_flux_adu", "flags"]),
        read_covariance(path_to_covariance),
        bool(read_json(path_to_record, RULE)["has_baseline"]),
        ztfpsf.__version__,
    )
    sncosmo.write(curve, path_to_sncosmo)
    dr2.write(curve, path_to_dr2)
    forced.write(curve, path_to_forced)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        export_lightcurve(
            path_to_lightcurve=snakemake.input.lightcurve,
            path_to_covariance=snakemake.input.covariance,
            path_to_record=snakemake.input.record,
            path_to_sncosmo=snakemake.output.sncosmo,
            path_to_dr2=snakemake.output.dr2,
            path_to_forced=snakemake.output.forced,
        )
