# The PSF for other programs; nothing else needs it: name a target.
#
# REQUIRED INPUTS: results/fit_psf/{model}/{optimiser}/{unit}_psf.fits, {unit}_images.parquet
# OUTPUTS: results/export_psf/{model}/{optimiser}/{unit}_psfex.psf, {unit}_oversampled.fits


rule export_psf:
    input:
        psf=rules.fit_psf.output.psf,
        images=rules.fit_psf.output.images,
    output:
        psfex="results/export_psf/{model}/{optimiser}/{unit}_psfex.psf",
        oversampled="results/export_psf/{model}/{optimiser}/{unit}_oversampled.fits",
    log:
        "logs/export_psf/{model}/{optimiser}/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        settings=settings("export_psf"),
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=lambda wildcards: code_hash(
            "export_psf.py", f"ztfpsf/psf/models/{wildcards.model}.py"
        ),
    script:
        "../scripts/export_psf.py"
