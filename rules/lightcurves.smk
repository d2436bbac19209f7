# Light curves of the targets of the target sheet; name a target.
#
# REQUIRED INPUTS: images, masks and variances that may hold a target, of the unit
# OUTPUTS: results/cut_targets/{unit}_targets.fits


# A unit is cut again when one of its own targets is new: params name no other one.
rule cut_targets:
    input:
        sciimg=target_files_of("sciimg"),
        mskimg=target_files_of("mskimg"),
        varimg=target_files_of("varimg"),
    output:
        targets="results/cut_targets/{unit}_targets.fits",
    log:
        "logs/cut_targets/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        images=target_column("image"),
        sciimg=target_column("sciimg"),
        mskimg=target_column("mskimg"),
        varimg=target_column("varimg"),
        targets=lambda wildcards: targets_of_unit(wildcards.unit)[1],
        size_px=config["cut_targets"]["size_px"],
        bad_mask_bits=config["select_stars"]["bad_mask_bits"],
        saturation_fraction=config["select_stars"]["saturation_fraction"],
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=code_hash("cut_targets.py"),
    script:
        "../scripts/cut_targets.py"
