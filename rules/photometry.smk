# Flux and position of every catalogue star of the unit.
#
# REQUIRED INPUTS: images, masks and variances of the unit, results/select_stars/{unit}_stars.parquet,
#   results/fit_psf/{model}/{optimiser}/{unit}_images.parquet, {unit}_psf.fits
# OUTPUTS: results/measure_photometry/{model}/{optimiser}/{unit}_photometry.parquet,
#   {unit}_images.parquet, {unit}_residual.png


rule measure_photometry:
    input:
        sciimg=made_files_of("sciimg"),
        mskimg=made_files_of("mskimg"),
        varimg=made_files_of("varimg"),
        stars=rules.select_stars.output.stars,
        images=rules.fit_psf.output.images,
        psf=rules.fit_psf.output.psf,
    output:
        photometry="results/measure_photometry/{model}/{optimiser}/{unit}_photometry.parquet",
        images="results/measure_photometry/{model}/{optimiser}/{unit}_images.parquet",
        residual=picture(
            "results/measure_photometry/{model}/{optimiser}/{unit}_residual"
        ),
    log:
        "logs/measure_photometry/{model}/{optimiser}/{unit}.log",
    conda:
        "../envs/cuda12.yaml" if config["device"] == "gpu" else "../envs/cpu.yaml"
    threads: 2
    params:
        images=column("image"),
        sciimg=column("sciimg"),
        mskimg=column("mskimg"),
        varimg=column("varimg"),
        settings=settings("measure_photometry"),
        bad_mask_bits=config["select_stars"]["bad_mask_bits"],
        saturation_fraction=config["select_stars"]["saturation_fraction"],
        subtracted_sky=config["select_stars"]["subtracted_sky"],
        device=untracked(config["device"]),
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=code_hash("measure_photometry.py"),
    script:
        "../scripts/measure_photometry.py"
