# What all stages use: the images and frames of the run, input functions, versions of the code.
# How they are found is in scripts/ztfpsf_workflow.
#
# REQUIRED INPUTS: config, config/schema.yaml, the image sheet, the frame sheet, the target sheet
# OUTPUTS: SHEET, FRAMES, SIMULATED, SERIES, TARGETS, FITS and the functions that the rules call
import os
import sys
from functools import cache
from pathlib import Path

BASE = Path(workflow.basedir)
SCRIPTS = BASE / "scripts"
sys.path.insert(0, str(SCRIPTS))

from ztfpsf.names import EXPOSURE_PATTERN
from ztfpsf.target_sheet import TARGET_PATTERN
from ztfpsf.units import GROUP_PATTERN, UNIT_PATTERN
from ztfpsf_workflow import inputs, targets
from ztfpsf_workflow.code import hash_code, use_tree
from ztfpsf_workflow.configuration import read_configuration
from ztfpsf_workflow.contradictions import check_fit
from ztfpsf_workflow.failures import describe_failures, one_sentence

# Scripts run in processes of their own: with the code of this tree, whichever is installed.
use_tree(SCRIPTS)
with one_sentence():
    config.update(read_configuration(config, BASE))
    FITS = config["compare_fits"]["fits"]
    SIMULATED = inputs.list_simulated(config["simulate_raw"])
    FRAMES = inputs.list_frames(config, SIMULATED["raw"], BASE)
    SERIES = inputs.list_series(config["simulate_epochs"])
    SHEET = inputs.list_images(config, FRAMES, BASE)
    TARGETS = targets.list_targets(config, BASE)


# --- files of a unit ---


@cache
def images_by_unit():
    """Names of the images of every unit of the configured kind."""
    return SHEET.images_by_unit(config["unit"], config["batch_size"])


@cache
def unit_images(unit):
    """The ImageFiles of a unit."""
    with one_sentence():
        return inputs.find_images(SHEET, unit, config["catalogue"])


def column(name):
    """Input or params function: one column of the unit's images, "" where nothing is given."""
    return lambda wildcards: [
        getattr(files, name) for files in unit_images(wildcards.unit)
    ]


def files_of(name):
    """Input function: the files of one column of the unit's images, each once, without those that
    nobody has.
    """
    return lambda wildcards: obtainable(dict.fromkeys(column(name)(wildcards)))


def made_files_of(name):
    """Input function: as files_of, but only files that a rule makes, which must be kept until used.

    The user's own images are inputs of select_stars; what follows from it need not name them again:
    a night has a hundred thousand, and each costs time wherever it is named.
    """
    return lambda wildcards: [
        path for path in files_of(name)(wildcards) if path.startswith("results/")
    ]


def obtainable(paths):
    """Files that exist or that some rule makes, and that Snakemake can name.

    For want of one input, or for braces in its path, Snakemake would begin no job at all. The
    scripts take all paths from params, and fail for that image alone.
    """
    return [
        path
        for path in filter(inputs.is_plain, paths)
        if os.path.exists(path) or any(one.is_producer(path) for one in workflow.rules)
    ]


def stamps_to_fit(wildcards):
    """Input function of fit_psf: the stamps, for a model and an optimiser that exist."""
    with one_sentence():
        check_fit(SCRIPTS / "ztfpsf", wildcards.model, wildcards.optimiser)
    return rules.cut_stamps.output.stamps


def fits_of(product):
    """Input function: one product of every fit that is compared, in the order of FITS."""
    return lambda wildcards: [
        f"results/fit_psf/{fit['model']}/{fit['optimiser']}/{wildcards.unit}_{product}"
        for fit in FITS
    ]


def of_survey(product, wildcards):
    """Files of the first fit of all units with an image of the filter."""
    units = [
        unit
        for unit, images in images_by_unit().items()
        if any(image.split("_")[3] == wildcards.filtercode for image in images)
    ]
    return expand(product, **FITS[0], unit=units)


def dataset_of_survey(wildcards):
    """Params function: folder of the data set of a filter."""
    root = config["collect_survey"]["dataset"] or "collect_survey"
    if root in ("collect_survey", "simulate_survey"):
        root = f"results/{root}"
    return f"{root}/{wildcards.filtercode}"


def calibrating_survey(wildcards):
    """Stars of a survey that calibrate light curves of a filter; none without a folder."""
    folder = config["extract_lightcurve"]["survey"]
    return [f"{folder}/{wildcards.filtercode}_stars.parquet"] if folder else []


def truth_of(product):
    """Input function: one product of the simulation for each image of a unit."""
    return lambda wildcards: [
        f"results/simulate_raw/truth/{files.image}_{product}"
        for files in unit_images(wildcards.unit)
    ]


def all_products(wildcards):
    """Comparison of every unit; pictures and validation of the first fit of each model; fluxes by
    the first fit; stamps of targets, while the images are there.
    """
    units = images_by_unit()
    first = {fit["model"]: fit["optimiser"] for fit in reversed(FITS)}
    products = expand(rules.compare_fits.output, unit=units)
    products += expand(rules.measure_photometry.output, **FITS[0], unit=units)
    products += expand(rules.cut_targets.output, unit=units_with_targets())
    products += expand(rules.plot_pocket.output, unit=units)
    for model, optimiser in first.items():
        for made in (rules.plot_psf.output, rules.validate_psf.output):
            products += expand(made, model=model, optimiser=optimiser, unit=units)
    if config["frames"] == inputs.SIMULATED:
        simulated = inputs.list_true_units(units, FRAMES)
        products += expand(rules.compare_truth.output, **FITS[0], unit=simulated)
    return products


# --- outputs and params ---


def picture(stem):
    return f"{stem}.{config['plot_psf']['image_format']}"


def untracked(value):
    """Params function of a setting that changes no result: Snakemake reruns nothing for it.

    It compares params of earlier runs unless they derive from threads or resources.
    """
    return lambda wildcards, threads: value


def settings(rule_name, *without):
    """The configuration of a rule, without some of its keys."""
    return {
        key: value for key, value in config[rule_name].items() if key not in without
    }


def code_hash(*scripts):
    """Changes with the code that some scripts use."""
    return hash_code(SCRIPTS, *scripts)
