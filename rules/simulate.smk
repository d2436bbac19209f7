# A night of raw frames, and a series of science images, in ZTF's format with the truth about them.
#
# REQUIRED INPUTS: none
# OUTPUTS: results/simulate_raw/{raw,sci,truth}/, catalogue.parquet, frames.csv
#          results/simulate_epochs/*_{sciimg,mskimg}.fits, truth.parquet, catalogue.parquet


rule simulate_raw:
    "a night of raw frames, and the truth about it, for --configfile config/simulation.yaml"
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
    params:
        linearity=untracked(
            inputs.find_beside(config["simulate_raw"]["linearity_tables"] or "", BASE)
        ),
        tables=config["simulate_raw"]["linearity_tables"],
        settings=settings("simulate_raw", "linearity_tables"),
        code=code_hash("simulate_raw.py"),
    script:
        "../scripts/simulate_raw.py"


rule simulate_epochs:
    "exposures of a supernova, for --configfile config/lightcurve.yaml"
    output:
        sciimg=[files.sciimg for files in SERIES],
        mskimg=[files.mskimg for files in SERIES],
        truth="results/simulate_epochs/truth.parquet",
        catalogue="results/simulate_epochs/catalogue.parquet",
    log:
        "logs/simulate_epochs/epochs.log",
    conda:
        "../envs/cpu.yaml"
    params:
        settings=settings("simulate_epochs"),
        code=code_hash("simulate_epochs.py"),
    script:
        "../scripts/simulate_epochs.py"
