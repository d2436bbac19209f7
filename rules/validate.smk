# How good the PSF of every image is: one verdict per image, on reserved stars.
#
# REQUIRED INPUTS: results/cut_stamps/{unit}_stamps.fits, results/fit_psf/{model}/{optimiser}/{unit}_*
# OUTPUTS: results/validate_psf/{model}/{optimiser}/{unit}_images.parquet, {unit}_stars.parquet,
#   {unit}_rho.parquet, {unit}_validation.png, {unit}_validation.txt


rule validate_psf:
    input:
        stamps=rules.cut_stamps.output.stamps,
        stars=rules.fit_psf.output.stars,
        images=rules.fit_psf.output.images,
        psf=rules.fit_psf.output.psf,
    output:
        images="results/validate_psf/{model}/{optimiser}/{unit}_images.parquet",
        stars="results/validate_psf/{model}/{optimiser}/{unit}_stars.parquet",
        rho="results/validate_psf/{model}/{optimiser}/{unit}_rho.parquet",
        picture=picture("results/validate_psf/{model}/{optimiser}/{unit}_validation"),
        report="results/validate_psf/{model}/{optimiser}/{unit}_validation.txt",
    log:
        "logs/validate_psf/{model}/{optimiser}/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        settings=settings("validate_psf"),
        code=code_hash("validate_psf.py"),
    script:
        "../scripts/validate_psf.py"
