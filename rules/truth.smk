# Products of the workflow against the truth of the simulation.
#
# REQUIRED INPUTS: calibrated images of simulated quadrants, a fit to them, results/simulate_raw/truth/
# OUTPUTS: results/compare_truth/{model}/{optimiser}/{unit}_truth.json, {unit}_truth.md


rule compare_truth:
    input:
        sciimg=files_of("sciimg"),
        varimg=files_of("varimg"),
        mskimg=files_of("mskimg"),
        stars=rules.fit_psf.output.stars,
        psf=rules.fit_psf.output.psf,
        true_images=truth_of("truth.fits"),
        true_stars=truth_of("stars.parquet"),
        true_psfs=truth_of("psf.fits"),
    output:
        record="results/compare_truth/{model}/{optimiser}/{unit}_truth.json",
        report="results/compare_truth/{model}/{optimiser}/{unit}_truth.md",
    log:
        "logs/compare_truth/{model}/{optimiser}/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        images=column("image"),
        size_px=config["cut_stamps"]["size_px"],
        code=code_hash("compare_truth.py"),
    script:
        "../scripts/compare_truth.py"
