# Which raw frames, masters and headers the rules of calibrate.smk take, by their wildcards.
#
# REQUIRED INPUTS: FRAMES and SIMULATED of common.smk
# OUTPUTS: the functions that the rules of calibrate.smk and report.smk call
from ztfpsf_workflow.masters import kind_letter, make_plan, without_masters


@cache
def masters():
    """The plan of all masters, once the rules are known."""
    patterns = {
        "bias": rules.make_master_bias.output.bias,
        "flat": rules.make_master_flat.output.flat,
        "period": rules.make_period_master.output.master,
        "focal_plane": rules.normalise_flats.output.focal_plane,
    }
    return make_plan(FRAMES, config, patterns)


def daily_masters(wildcards):
    """Input function: the masters of the nights of a period."""
    names = wildcards.period, wildcards.filtercode, wildcards.ccdid
    return masters().daily_masters(kind_letter(wildcards.kind), *names)


def flats_of(wildcards):
    """Input function: the flats of all CCDs of a night or period and filter."""
    return masters().flats(wildcards.nights, wildcards.filtercode)


def plan_flat(wildcards):
    """The bias of a flat and "", or nothing and what is missing."""
    plan = masters().masters_of_flat
    return without_masters(plan, wildcards.night, wildcards.ccdid)


def plan_science(wildcards):
    """The masters of a CCD of an exposure and "", or nothing and what is missing."""
    plan = masters().masters_of_science
    return without_masters(plan, wildcards.exposure, wildcards.ccdid)


def frames_of_bias(wildcards):
    """Params function: the bias frames of a night and CCD."""
    return FRAMES.frames("b", wildcards.night, "bi", int(wildcards.ccdid))


def frames_of_flat(wildcards):
    """Params function: the flats of a night, filter and CCD."""
    light = wildcards.filtercode
    return FRAMES.frames("f", wildcards.night, light, int(wildcards.ccdid))


def raw_of_science(wildcards):
    """Params function: the raw frame of a CCD of an exposure."""
    with one_sentence():
        return inputs.find_raw(FRAMES, f"{wildcards.exposure}_c{wildcards.ccdid}_o")


def ipac_products(wildcards):
    """Input function: IPAC's files for the quadrants of a CCD, below config key ipac_root."""
    root, ccd = config["ipac_root"], f"{wildcards.exposure}_c{wildcards.ccdid}_o"
    found = inputs.find_ipac_products(root, ccd, SIMULATED["sci"]) if root else []
    return [path for path in found if inputs.is_plain(path)]


def calibrated_images(kind):
    """Output files of the four quadrants, removed after use unless they shall be kept."""
    stem = "results/calibrate_science/{exposure}/{exposure}_c{ccdid}_o_q"
    paths = [f"{stem}{qid}_{kind}.fits" for qid in (1, 2, 3, 4)]
    return paths if config["keep_images"] else [temp(path) for path in paths]
