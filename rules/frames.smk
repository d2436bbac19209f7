# Which raw frames, masters and headers make which calibrated image.
#
# REQUIRED INPUTS: FRAMES and SIMULATED of common.smk
# OUTPUTS: the functions that the rules of calibrate.smk call
#
# A master that cannot be had is no error here, where it would end the whole run: the job gets the
# sentence, and fails alone.
KINDS = {"b": "bias", "f": "flat"}


def without_masters(plan, *name):
    """What a plan finds and "", or nothing and the sentence that says what is missing."""
    try:
        return plan(*name), ""
    except InputError as error:
        return {}, str(error)


def frames_needed(kind):
    if kind == "b":
        block = config["make_master_bias"]
        return block["n_skip"] + block["min_frames"]
    return config["make_master_flat"]["min_frames"]


def find_nights(kind, night, filtercode, ccdid):
    """The period that a night is in, or the nearest night with enough frames."""
    for period in config["make_period_master"]["periods"]:
        first, last = period.split("-")
        if first <= night <= last:
            return period
    return FRAMES.nearest(
        kind,
        (night, filtercode, int(ccdid)),
        frames_needed(kind),
        config["master_max_days"],
    )


def master_path(kind, nights, filtercode, ccdid):
    if "-" in nights:
        rule_name = rules.make_period_master
        nights = {"period": nights, "kind": KINDS[kind]}
    else:
        rule_name = rules.make_master_bias if kind == "b" else rules.make_master_flat
        nights = {"night": nights}
    return rule_name.output[0].format(**nights, filtercode=filtercode, ccdid=ccdid)


def plan_flat(night, ccdid):
    found = FRAMES.nearest(
        "b", (night, "bi", int(ccdid)), frames_needed("b"), config["master_max_days"]
    )
    return {"bias": master_path("b", found, "bi", ccdid)}


def plan_science(exposure, ccdid):
    night, filtercode = exposure.split("_")[1][:8], exposure[-2:]
    bias = find_nights("b", night, "bi", ccdid)
    flat = find_nights("f", night, filtercode, ccdid)
    return {
        "bias": master_path("b", bias, "bi", ccdid),
        "flat": master_path("f", flat, filtercode, ccdid),
        "focal_plane": rules.normalise_flats.output[0].format(
            nights=flat, filtercode=filtercode
        ),
    }


def daily_masters(wildcards):
    """Input function: the masters of the nights of a period."""
    kind = next(key for key, name in KINDS.items() if name == wildcards.kind)
    nights = FRAMES.nights(
        kind,
        wildcards.filtercode,
        int(wildcards.ccdid),
        frames_needed(kind),
        wildcards.period,
    )
    return [
        master_path(kind, night, wildcards.filtercode, wildcards.ccdid)
        for night in nights
    ]


def flats_of(wildcards):
    """Input function: the flats of all CCDs of a night or period and filter."""
    return [
        master_path("f", wildcards.nights, wildcards.filtercode, f"{ccdid:02d}")
        for ccdid in FRAMES.ccds(wildcards.nights, wildcards.filtercode)
    ]


def inputs_of_flat(wildcards):
    return without_masters(plan_flat, wildcards.night, wildcards.ccdid)[0]


def frames_of_bias(wildcards):
    """Params function: the bias frames of a night and CCD."""
    return FRAMES.frames("b", wildcards.night, "bi", int(wildcards.ccdid))


def frames_of_flat(wildcards):
    """Params function: the flats of a night, filter and CCD."""
    return FRAMES.frames(
        "f", wildcards.night, wildcards.filtercode, int(wildcards.ccdid)
    )


def raw_of_science(wildcards):
    """Params function: the raw frame of a CCD of an exposure."""
    ccd = f"{wildcards.exposure}_c{wildcards.ccdid}_o"
    with one_sentence():
        if ccd not in FRAMES.science:
            raise InputError(
                f"{FRAMES.path}: no raw frame '{ccd}' in this frame sheet; add it."
            )
    return FRAMES.science[ccd]


def inputs_of_science(wildcards):
    """Input function: raw frame, masters and normalisation of a CCD of an exposure."""
    masters, _ = without_masters(plan_science, wildcards.exposure, wildcards.ccdid)
    raw = obtainable([raw_of_science(wildcards)])
    return {"raw": raw, **masters}


def ipac_products(wildcards):
    """Input function: IPAC's files for the quadrants of a CCD, below config key ipac_root."""
    if not config["ipac_root"]:
        return []
    day = wildcards.exposure.split("_")[1]
    folder = Path(config["ipac_root"]) / "sci" / day[:4] / day[4:8] / day[8:]
    ccd = f"{wildcards.exposure}_c{wildcards.ccdid}_o_q"
    there = {
        str(path)
        for kind in ("sciimg", "header", "mskimg")
        for path in folder.glob(f"{ccd}[1-4]_{kind}.fits*")
    }
    simulated = {
        path for path in SIMULATED["sci"] if path.startswith(str(folder / ccd))
    }
    return sorted(there | simulated)


def calibrated_images(kind):
    """Output files of the four quadrants, removed after use unless they shall be kept."""
    stem = "results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_q"
    paths = [f"{stem}{qid}_{kind}.fits" for qid in (1, 2, 3, 4)]
    return paths if config["keep_images"] else [temp(path) for path in paths]
