# How the serial registers of the quadrants hold charge back.
#
# REQUIRED INPUTS: images and masks of the unit, results/cut_stamps/{unit}_stamps.fits
# OUTPUTS: results/measure_pocket/{unit}_pocket.parquet, results/plot_pocket/{unit}_pocket.png


rule measure_pocket:
    input:
        sciimg=made_files_of("sciimg"),
        mskimg=made_files_of("mskimg"),
        stamps=rules.cut_stamps.output.stamps,
    output:
        pocket="results/measure_pocket/{unit}_pocket.parquet",
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
        subtracted_sky=config["select_stars"]["subtracted_sky"],
        code=code_hash(
            "measure_pocket.py",
            "ztfpsf/psf/models/moffat.py",
            "ztfpsf/psf/optimisers/gauss_newton.py",
        ),
    script:
        "../scripts/measure_pocket.py"


rule plot_pocket:
    input:
        pocket=rules.measure_pocket.output.pocket,
    output:
        picture=picture("results/plot_pocket/{unit}_pocket"),
    log:
        "logs/plot_pocket/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code_hash("plot_pocket.py"),
    script:
        "../scripts/plot_pocket.py"
