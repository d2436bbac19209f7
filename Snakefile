# PSFs of ZTF images: fetch_sample -> select_stars -> cut_stamps -> fit_psf -> plot_psf, compare_fits
#
# Paths are relative to the working directory. A rule has the name of its script in scripts/, of its
# folder in results/ and of its folder in logs/.
from snakemake.utils import min_version

min_version("9.27")


# Every default first, whatever the working directory; --configfile and --config come on top.
configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/fetch.smk"
include: "rules/calibrate.smk"
include: "rules/select.smk"
include: "rules/cut.smk"
include: "rules/fit.smk"
include: "rules/plot.smk"
include: "rules/compare.smk"
include: "rules/simulate.smk"


wildcard_constraints:
    unit=UNIT_PATTERN,
    model=r"\w+",
    optimiser=r"\w+",
    image=QUADRANT_PATTERN,


localrules:
    all,
    fetch_sample,


rule all:
    default_target: True
    input:
        all_products,
