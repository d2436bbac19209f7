# Seconds of a fit against the number of stars, for every optimiser and device: name the target.
#
# REQUIRED INPUTS: none; the stars are simulated
# OUTPUTS: results/time_fits/fits_seconds.parquet, fits_seconds.png


rule time_fits:
    output:
        table="results/time_fits/fits_seconds.parquet",
        picture=report(
            picture("results/time_fits/fits_seconds"),
            caption="captions/time_fits.rst",
            category="Run",
            labels={"what": "4. time against the number of stars"},
        ),
    log:
        "logs/time_fits/fits.log",
    conda:
        "../envs/cuda12.yaml" if config["device"] == "gpu" else "../envs/cpu.yaml"
    threads: 2
    params:
        settings=settings("time_fits"),
        options=config["fit_psf"]["optimisers"],
        device=untracked(config["device"]),
        code=code_hash("time_fits.py"),
    script:
        "../scripts/time_fits.py"
