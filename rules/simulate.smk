# A night of raw frames in ZTF's format, and the products of the workflow against its truth.
#
# REQUIRED INPUTS: compare_truth: the calibrated image of a simulated quadrant and a fit to it
# OUTPUTS: results/simulate_raw/{raw,sci,truth}/, catalogue.parquet, frames.csv;
#   results/compare_truth/{model}/{optimiser}/{image}_truth.{json,md}


rule simulate_raw:
    output:
        raw=SIMULATED["raw"],
        sci=SIMULATED["sci"],
        truth=SIMULATED["truth"],
        catalogue="results/simulate_raw/catalogue.parquet",
        frames="results/simulate_raw/frames.csv",
    log:
        "logs/simulate_raw/night.log",
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=5000,
    params:
        linearity=untracked(
            str(find_beside(config["simulate_raw"]["linearity_tables"] or ""))
        ),
        tables=config["simulate_raw"]["linearity_tables"],
        settings=settings("simulate_raw", "linearity_tables"),
        code=code_hash("simulate_raw.py"),
    script:
        "../scripts/simulate_raw.py"


rule compare_truth:
    input:
        sciimg="results/calibrate_science/{image}_sciimg.fits",
        varimg="results/calibrate_science/{image}_varimg.fits",
        mskimg="results/calibrate_science/{image}_mskimg.fits",
        stars="results/fit_psf/{model}/{optimiser}/{image}_stars.parquet",
        psf="results/fit_psf/{model}/{optimiser}/{image}_psf.fits",
        true_image="results/simulate_raw/truth/{image}_truth.fits",
        true_stars="results/simulate_raw/truth/{image}_stars.parquet",
        true_psf="results/simulate_raw/truth/{image}_psf.fits",
    output:
        record="results/compare_truth/{model}/{optimiser}/{image}_truth.json",
        report="results/compare_truth/{model}/{optimiser}/{image}_truth.md",
    log:
        "logs/compare_truth/{model}/{optimiser}/{image}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        size_px=config["cut_stamps"]["size_px"],
        code=code_hash("compare_truth.py"),
    script:
        "../scripts/compare_truth.py"
