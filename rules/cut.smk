# Pixels, variance and mask around every selected star.
#
# REQUIRED INPUTS: images, masks and variances of the unit, results/select_stars/{unit}_stars.parquet, {unit}_counts.json
# OUTPUTS: results/cut_stamps/{unit}_stamps.fits


rule cut_stamps:
    input:
        sciimg=made_files_of("sciimg"),
        mskimg=made_files_of("mskimg"),
        varimg=files_of("varimg"),
        stars=rules.select_stars.output.stars,
        counts=rules.select_stars.output.counts,
    output:
        stamps="results/cut_stamps/{unit}_stamps.fits",
    log:
        "logs/cut_stamps/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        images=column("image"),
        sciimg=column("sciimg"),
        mskimg=column("mskimg"),
        varimg=column("varimg"),
        size_px=config["cut_stamps"]["size_px"],
        bad_mask_bits=config["select_stars"]["bad_mask_bits"],
        saturation_fraction=config["select_stars"]["saturation_fraction"],
        subtracted_sky=config["select_stars"]["subtracted_sky"],
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=code_hash("cut_stamps.py"),
    script:
        "../scripts/cut_stamps.py"
