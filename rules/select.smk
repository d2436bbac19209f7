# Which stars measure the PSF.
#
# REQUIRED INPUTS: images (and masks, catalogues) of the unit, as the image sheet says
# OUTPUTS: results/select_stars/{unit}_stars.parquet, {unit}_counts.json


rule select_stars:
    input:
        sciimg=files_of("sciimg"),
        mskimg=files_of("mskimg"),
        catalogue=files_of("catalogue"),
    output:
        stars="results/select_stars/{unit}_stars.parquet",
        counts="results/select_stars/{unit}_counts.json",
    log:
        "logs/select_stars/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        images=column("image"),
        sciimg=column("sciimg"),
        mskimg=column("mskimg"),
        catalogue=column("catalogue"),
        catalogue_settings=config["catalogue"],
        settings=settings("select_stars"),
        size_px=config["cut_stamps"]["size_px"],
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=code_hash("select_stars.py"),
    script:
        "../scripts/select_stars.py"
