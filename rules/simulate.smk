# A night of raw frames in ZTF's format, with the truth about it.
#
# REQUIRED INPUTS: none
# OUTPUTS: results/simulate_raw/{raw,sci,truth}/, catalogue.parquet, frames.csv


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
