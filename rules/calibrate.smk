# Raw CCD frames to science images of their quadrants.
#
# REQUIRED INPUTS: raw frames of the frame sheet (config key frames); masters are made from them
# OUTPUTS: results/make_master_bias/{night}/ztfpsf_{night}_000000_bi_c{ccdid}_bias.fits
#          results/make_master_flat/{night}/ztfpsf_{night}_000000_{filtercode}_c{ccdid}_flat.fits
#          results/normalise_flats/{night}/ztfpsf_{night}_000000_{filtercode}_focalplane.json
#          results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_q{1..4}_{sciimg,varimg,mskimg}.fits
#          results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_status.json
from ztfpsf.frame_sheet import (
    FOCAL_PLANE,
    MASTER_BIAS,
    MASTER_FLAT,
    read_frames,
    sort_frames,
)

with one_sentence():
    FRAMES = (
        read_frames(find_beside(config["frames"]), config["frames_root"] or "")
        if config["frames"]
        else sort_frames("config key 'frames'", [])
    )


wildcard_constraints:
    night=r"20\d{6}",
    filtercode=r"z[gri]",
    ccdid=r"0[1-9]|1[0-6]",
    exposure=EXPOSURE_PATTERN,


def nearest_master(kind, night, filtercode, ccdid):
    """Path of the master closest to a night; the frames of that night make it."""
    producer = "make_master_bias" if kind == "b" else "make_master_flat"
    needed = config[producer]["min_frames"] + (
        config[producer]["n_skip"] if kind == "b" else 0
    )
    with one_sentence():
        found = FRAMES.nearest(
            kind,
            (night, filtercode, int(ccdid)),
            needed,
            config["master_max_days"],
        )
    name = MASTER_BIAS if kind == "b" else MASTER_FLAT
    return f"results/{producer}/{found}/" + name.format(
        night=found, filtercode=filtercode, ccdid=ccdid
    )


def bias_of_flat(wildcards):
    return nearest_master("b", wildcards.night, "bi", wildcards.ccdid)


def masters_of_science(wildcards):
    """Input function: raw frame, masters and normalisation of a CCD of an exposure."""
    night = wildcards.exposure.split("_")[1][:8]
    filtercode = wildcards.exposure[-2:]
    ccd = f"{wildcards.exposure}_c{wildcards.ccdid}_o"
    with one_sentence():
        if ccd not in FRAMES.science:
            raise InputError(
                f"{FRAMES.path}: no raw frame '{ccd}' in this frame sheet; add it."
            )
    flat = nearest_master("f", night, filtercode, wildcards.ccdid)
    flat_night = flat.split("/")[2]
    return {
        "raw": FRAMES.science[ccd],
        "bias": nearest_master("b", night, "bi", wildcards.ccdid),
        "flat": flat,
        "focal_plane": f"results/normalise_flats/{flat_night}/"
        + FOCAL_PLANE.format(night=flat_night, filtercode=filtercode),
    }


def flats_of_night(wildcards):
    ccds = FRAMES.ccds(wildcards.night, wildcards.filtercode)
    return [
        f"results/make_master_flat/{wildcards.night}/"
        + MASTER_FLAT.format(**wildcards, ccdid=f"{ccdid:02d}")
        for ccdid in ccds
    ]


def quadrant_products(kind):
    stem = "results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_q"
    return [f"{stem}{qid}_{kind}.fits" for qid in (1, 2, 3, 4)]


def ipac_products(wildcards):
    """Files of IPAC for the quadrants of a CCD that are there, below config key ipac_root."""
    if not config["ipac_root"]:
        return []
    day = wildcards.exposure.split("_")[1]
    folder = Path(config["ipac_root"]) / "sci" / day[:4] / day[4:8] / day[8:]
    ccd = f"{wildcards.exposure}_c{wildcards.ccdid}_o_q"
    return sorted(
        str(path)
        for kind in ("sciimg", "header", "mskimg")
        for path in folder.glob(f"{ccd}[1-4]_{kind}.fits*")
    )


rule make_master_bias:
    input:
        frames=lambda wildcards: FRAMES.frames(
            "b", wildcards.night, "bi", int(wildcards.ccdid)
        ),
    output:
        bias="results/make_master_bias/{night}/" + MASTER_BIAS,
    log:
        "logs/make_master_bias/{night}_c{ccdid}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        detector=config["detector"],
        settings=settings("make_master_bias"),
        code=code_hash("make_master_bias.py"),
    script:
        "../scripts/make_master_bias.py"


rule make_master_flat:
    input:
        frames=lambda wildcards: FRAMES.frames(
            "f", wildcards.night, wildcards.filtercode, int(wildcards.ccdid)
        ),
        bias=bias_of_flat,
    output:
        flat="results/make_master_flat/{night}/" + MASTER_FLAT,
    log:
        "logs/make_master_flat/{night}_{filtercode}_c{ccdid}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        detector=config["detector"],
        settings=settings("make_master_flat"),
        code=code_hash("make_master_flat.py"),
    script:
        "../scripts/make_master_flat.py"


rule normalise_flats:
    input:
        flats=flats_of_night,
    output:
        focal_plane="results/normalise_flats/{night}/" + FOCAL_PLANE,
    log:
        "logs/normalise_flats/{night}_{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        ccdids=lambda wildcards: FRAMES.ccds(wildcards.night, wildcards.filtercode),
        min_ccds=config["normalise_flats"]["min_ccds"],
        code=code_hash("normalise_flats.py"),
    script:
        "../scripts/normalise_flats.py"


rule calibrate_science:
    input:
        unpack(masters_of_science),
        ipac=ipac_products,
    output:
        sciimg=quadrant_products("sciimg"),
        varimg=quadrant_products("varimg"),
        mskimg=quadrant_products("mskimg"),
        status="results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_status.json",
    log:
        "logs/calibrate_science/{exposure}_c{ccdid}_o.log",
    conda:
        "../envs/cpu.yaml"
    params:
        detector=config["detector"],
        settings=settings("calibrate_science"),
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=code_hash("calibrate_science.py"),
    script:
        "../scripts/calibrate_science.py"
