# Zero points of all exposures of a filter from all stars; name a target.
#
# REQUIRED INPUTS: results/measure_photometry/{model}/{optimiser}/{unit}_photometry.parquet and
#   results/validate_psf/{model}/{optimiser}/{unit}_images.parquet of the first fit, all units
# OUTPUTS: results/collect_survey/{filtercode}_collected.json, and beside it the data set {filtercode}
#   results/solve_survey/{filtercode}_zeropoints.parquet, {filtercode}_stars.parquet,
#   {filtercode}_fields.parquet, {filtercode}_starflat.fits, {filtercode}_solution.json
#   results/plot_survey/{filtercode}_*.png
#   results/simulate_survey/{filtercode}_truth.parquet, {filtercode}_starflat.fits

FILTERCODES = ("zg", "zr", "zi")


rule simulate_survey:
    output:
        truth="results/simulate_survey/{filtercode}_truth.parquet",
        star_flat="results/simulate_survey/{filtercode}_starflat.fits",
    log:
        "logs/simulate_survey/{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        dataset="results/simulate_survey/{filtercode}",
        settings=settings("simulate_survey"),
        code=code_hash("simulate_survey.py"),
    script:
        "../scripts/simulate_survey.py"


# The data set is no output: Snakemake would remove what earlier nights left in it.
rule collect_survey:
    input:
        photometry=lambda wildcards: of_survey(
            rules.measure_photometry.output.photometry, wildcards
        ),
        verdicts=lambda wildcards: of_survey(
            rules.validate_psf.output.images, wildcards
        ),
    output:
        record="results/collect_survey/{filtercode}_collected.json",
    log:
        "logs/collect_survey/{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        dataset=dataset_of_survey,
        settings=settings("collect_survey", "dataset"),
        code=code_hash("collect_survey.py"),
    script:
        "../scripts/collect_survey.py"


rule solve_survey:
    input:
        collected=(
            rules.simulate_survey.output.truth
            if config["collect_survey"]["dataset"] == "simulate_survey"
            else rules.collect_survey.output.record
        ),
    output:
        zero_points="results/solve_survey/{filtercode}_zeropoints.parquet",
        stars="results/solve_survey/{filtercode}_stars.parquet",
        star_flat="results/solve_survey/{filtercode}_starflat.fits",
        fields="results/solve_survey/{filtercode}_fields.parquet",
        record="results/solve_survey/{filtercode}_solution.json",
    log:
        "logs/solve_survey/{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 2
    params:
        dataset=dataset_of_survey,
        settings=settings("solve_survey"),
        dask_scheduler=untracked(config["dask_scheduler"]),
        code=code_hash("solve_survey.py"),
    script:
        "../scripts/solve_survey.py"


rule plot_survey:
    input:
        **rules.solve_survey.output,
    output:
        **{
            name: report(
                picture(f"results/plot_survey/{{filtercode}}_{name}"),
                caption="captions/survey.rst",
                category="Survey",
                labels={"filter": "{filtercode}", "what": what},
            )
            for name, what in (
                ("zeropoints", "1. zero points"),
                ("starflat", "2. star flat"),
                ("residuals", "3. residuals"),
                ("fields", "4. fields and weak modes"),
            )
        },
    log:
        "logs/plot_survey/{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code_hash("plot_survey.py"),
    script:
        "../scripts/plot_survey.py"
