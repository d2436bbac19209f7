# The PSF of every image of the unit.
#
# REQUIRED INPUTS: results/cut_stamps/{unit}_stamps.fits, results/measure_pocket/{unit}_pocket.parquet
# OUTPUTS: results/fit_psf/{model}/{optimiser}/{unit}_stars.parquet, {unit}_images.parquet,
#   {unit}_history.parquet, {unit}_psf.fits


rule fit_psf:
    input:
        stamps=stamps_to_fit,
        pocket=rules.measure_pocket.output.pocket,
    output:
        stars="results/fit_psf/{model}/{optimiser}/{unit}_stars.parquet",
        images="results/fit_psf/{model}/{optimiser}/{unit}_images.parquet",
        history="results/fit_psf/{model}/{optimiser}/{unit}_history.parquet",
        psf="results/fit_psf/{model}/{optimiser}/{unit}_psf.fits",
    log:
        "logs/fit_psf/{model}/{optimiser}/{unit}.log",
    conda:
        "../envs/cuda12.yaml" if config["device"] == "gpu" else "../envs/cpu.yaml"
    # An image is fitted on one core.
    threads: lambda wildcards: min(2, len(unit_images(wildcards.unit)))
    params:
        settings=settings("fit_psf", "optimisers"),
        options=lambda wildcards: config["fit_psf"]["optimisers"].get(
            wildcards.optimiser, {}
        ),
        device=untracked(config["device"]),
        dask_scheduler=untracked(config["dask_scheduler"]),
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=lambda wildcards: code_hash(
            "fit_psf.py",
            f"ztfpsf/psf/models/{wildcards.model}.py",
            f"ztfpsf/psf/optimisers/{wildcards.optimiser}.py",
        ),
    script:
        "../scripts/fit_psf.py"
