# Raw CCD frames to science images of their quadrants.
#
# REQUIRED INPUTS: raw frames of the frame sheet (config key frames); masters are made from them
# OUTPUTS: results/make_master_bias/{night}/ztfpsf_{night}_000000_bi_c{ccdid}_bias.fits
#          results/make_master_flat/{night}/ztfpsf_{night}_000000_{filtercode}_c{ccdid}_flat.fits
#          results/make_period_master/{period}/ztfpsf_{period}_000000_{filtercode}_c{ccdid}_{kind}.fits
#          results/normalise_flats/{nights}/ztfpsf_{nights}_000000_{filtercode}_focalplane.json
#          results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_q{1..4}_{sciimg,varimg,mskimg}.fits
#          results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_status.json


rule make_master_bias:
    input:
        frames=lambda wildcards: obtainable(frames_of_bias(wildcards)),
    output:
        bias="results/make_master_bias/{night}/ztfpsf_{night}_000000_bi_c{ccdid}_bias.fits",
    log:
        "logs/make_master_bias/{night}_c{ccdid}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        frames=frames_of_bias,
        detector=config["detector"],
        settings=settings("make_master_bias"),
        code=code_hash("make_master_bias.py"),
    script:
        "../scripts/make_master_bias.py"


rule make_master_flat:
    input:
        unpack(lambda wildcards: plan_flat(wildcards)[0]),
        frames=lambda wildcards: obtainable(frames_of_flat(wildcards)),
    output:
        flat="results/make_master_flat/{night}/ztfpsf_{night}_000000_{filtercode}_c{ccdid}_flat.fits",
    log:
        "logs/make_master_flat/{night}_{filtercode}_c{ccdid}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        frames=frames_of_flat,
        missing=lambda wildcards: plan_flat(wildcards)[1],
        detector=config["detector"],
        settings=settings("make_master_flat"),
        code=code_hash("make_master_flat.py"),
    script:
        "../scripts/make_master_flat.py"


rule make_period_master:
    input:
        masters=daily_masters,
    output:
        master="results/make_period_master/{period}/ztfpsf_{period}_000000_{filtercode}_c{ccdid}_{kind}.fits",
    log:
        "logs/make_period_master/{period}_{filtercode}_c{ccdid}_{kind}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        settings=settings("make_period_master", "periods"),
        code=code_hash("make_period_master.py"),
    script:
        "../scripts/make_period_master.py"


rule normalise_flats:
    input:
        flats=flats_of,
    output:
        focal_plane="results/normalise_flats/{nights}/ztfpsf_{nights}_000000_{filtercode}_focalplane.json",
    log:
        "logs/normalise_flats/{nights}_{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        ccdids=lambda wildcards: FRAMES.ccds(wildcards.nights, wildcards.filtercode),
        min_ccds=config["normalise_flats"]["min_ccds"],
        code=code_hash("normalise_flats.py"),
    script:
        "../scripts/normalise_flats.py"


rule calibrate_science:
    input:
        unpack(lambda wildcards: plan_science(wildcards)[0]),
        raw=lambda wildcards: obtainable([raw_of_science(wildcards)]),
        ipac=ipac_products,
    output:
        sciimg=calibrated_images("sciimg"),
        varimg=calibrated_images("varimg"),
        mskimg=calibrated_images("mskimg"),
        status="results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_status.json",
    log:
        "logs/calibrate_science/{exposure}_c{ccdid}_o.log",
    conda:
        "../envs/cpu.yaml"
    params:
        raw=raw_of_science,
        missing=lambda wildcards: plan_science(wildcards)[1],
        detector=config["detector"],
        settings=settings("calibrate_science"),
        code=code_hash("calibrate_science.py"),
    script:
        "../scripts/calibrate_science.py"
