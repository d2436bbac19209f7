# PSFs of ZTF images:
#   make_master_bias, make_master_flat, normalise_flats -> calibrate_science, or fetch_sample
#   -> select_stars -> cut_stamps -> measure_pocket -> fit_psf -> measure_photometry,
#   validate_psf, plot_psf, compare_fits, export_psf; simulate_raw, compare_truth; time_fits
#   -> collect_survey, solve_survey, plot_survey; simulate_survey
#   -> match_stars, fit_maps, solve_ratios; cut_targets -> extract_lightcurve -> plot_lightcurve,
#   export_lightcurve; simulate_epochs
#   -> summarise_run, plot_run, bin_masters, plot_masters, index_products, report
#
# Paths are relative to the working directory. A rule has the name of its script in scripts/, of its
# folder in results/ and of its folder in logs/.
from snakemake.utils import min_version

min_version("9.27")


# Every default first, whatever the working directory; --configfile and --config come on top.
configfile: f"{workflow.basedir}/config/config.yaml"


report: "rules/captions/page.rst"


include: "rules/common.smk"
include: "rules/frames.smk"
include: "rules/fetch.smk"
include: "rules/simulate.smk"
include: "rules/calibrate.smk"
include: "rules/select.smk"
include: "rules/cut.smk"
include: "rules/pocket.smk"
include: "rules/fit.smk"
include: "rules/photometry.smk"
include: "rules/plot.smk"
include: "rules/validate.smk"
include: "rules/survey.smk"
include: "rules/targets.smk"
include: "rules/lightcurves.smk"
include: "rules/compare.smk"
include: "rules/export.smk"
include: "rules/time.smk"
include: "rules/truth.smk"
include: "rules/made.smk"
include: "rules/report.smk"


wildcard_constraints:
    unit=UNIT_PATTERN,
    group=GROUP_PATTERN,
    target=TARGET_PATTERN,
    model=r"\w+",
    optimiser=r"\w+",
    exposure=EXPOSURE_PATTERN,
    ccdid=r"0[1-9]|1[0-6]",
    filtercode=r"z[gri]|bi",
    night=r"20\d{6}",
    nights=r"20\d{6}(-20\d{6})?",
    period=r"20\d{6}-20\d{6}",
    kind="bias|flat",


onerror:
    print(*describe_failures(log), sep="\n", file=sys.stderr)


localrules:
    all,
    fetch_sample,
    lightcurves,
    report,


rule all:
    "what the configuration asks for of all images; no target means this one"
    default_target: True
    input:
        all_products,
