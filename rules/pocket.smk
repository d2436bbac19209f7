# How the serial registers of the quadrants hold charge back.
#
# REQUIRED INPUTS: images and masks of the unit, results/cut_stamps/{unit}_stamps.fits
# OUTPUTS: results/measure_pocket/{unit}_pocket.parquet, {unit}_pocket.png


rule measure_pocket:
    input:
        sciimg=made_files_of("sciimg"),
        mskimg=made_files_of("mskimg"),
        stamps=rules.cut_stamps.output.stamps,
    output:
        pocket="results/measure_pocket/{unit}_pocket.parquet",
        picture=picture("results/measure_pocket/{unit}_pocket"),
    log:
        "logs/measure_pocket/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        images=column("image"),
        sciimg=column("sciimg"),
        mskimg=column("mskimg"),
        settings=settings("measure_pocket"),
        quadrant_shape=config["detector"]["quadrant_shape"],
        bad_mask_bits=config["select_stars"]["bad_mask_bits"],
        saturation_fraction=config["select_stars"]["saturation_fraction"],
        device="cpu",
        code=code_hash("measure_pocket.py"),
    script:
        "../scripts/measure_pocket.py"
