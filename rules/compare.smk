# All fits of a unit side by side.
#
# REQUIRED INPUTS: results/fit_psf/{model}/{optimiser}/{unit}_{stars,images,history}.parquet of the
#   fits in the config key compare_fits.fits
# OUTPUTS: results/compare_fits/{unit}_parameters.csv, {unit}_parameters.md, {unit}_loss.png, {unit}_summary.txt


rule compare_fits:
    input:
        stars=fits_of("stars.parquet"),
        images=fits_of("images.parquet"),
        history=fits_of("history.parquet"),
    output:
        table="results/compare_fits/{unit}_parameters.csv",
        markdown="results/compare_fits/{unit}_parameters.md",
        loss=picture("results/compare_fits/{unit}_loss"),
        summary="results/compare_fits/{unit}_summary.txt",
    log:
        "logs/compare_fits/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        fits=FITS,
        code=code_hash("compare_fits.py"),
    script:
        "../scripts/compare_fits.py"
