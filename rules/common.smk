# The workflow's Python helpers: checks of the configuration, files of a unit, versions of the code.
#
# REQUIRED INPUTS: config, config/schema.yaml, the image sheet, the frame sheet
# OUTPUTS: SHEET, FRAMES, SIMULATED, MODELS, OPTIMISERS, FITS and the functions that the rules call
import ast
import os
import sys
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

BASE = Path(workflow.basedir)
PACKAGE = BASE / "scripts" / "ztfpsf"

# Names of ZTF images are defined once, in the package; these of its modules need the standard
# library only.
sys.path.insert(0, str(PACKAGE.parent))

from ztfpsf.errors import InputError
from ztfpsf.frame_sheet import NO_FRAMES, read_frames, sort_frames
from ztfpsf.jobs import describe_failures
from ztfpsf.names import EXPOSURE_PATTERN, UNIT_PATTERN, parse_quadrant
from ztfpsf.sheet import NO_IMAGES, ImageFiles, add_images, read_sheet, suggest
from ztfpsf.simulation.plan import list_files
from ztfpsf.simulation.settings import NightSettings, make_settings


@contextmanager
def one_sentence():
    """End on bad input with its sentence; Snakemake would print a traceback behind it."""
    try:
        yield
    except InputError as error:
        sys.exit(f"Error: {error}")


# --- configuration ---


def to_numbers(value, schema):
    """A configuration with its strings turned into what the schema asks for.

    YAML reads 1e-9 as a string, and Snakemake all values of --config 'cut_stamps={size_px: 17}'.
    """
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        return {
            key: to_numbers(part, parts.get(key, {})) for key, part in value.items()
        }
    if isinstance(value, list):
        return [to_numbers(part, schema.get("items", {})) for part in value]
    return to_number(value, schema.get("type", "")) if isinstance(value, str) else value


def to_number(text, kinds):
    for kind, words in (
        ("null", {"null": None}),
        ("boolean", {"true": True, "false": False}),
    ):
        if kind in kinds and text.lower() in words:
            return words[text.lower()]
    for kind, convert in (("integer", int), ("number", int), ("number", float)):
        if kind in kinds:
            with suppress(ValueError):
                return convert(text)
    return text


def check_config(config, schema):
    """Raise InputError naming the first key that the schema refuses."""
    errors = Draft202012Validator(schema).iter_errors(config)
    # A misspelt key explains the other errors.
    order = lambda error: (error.validator != "additionalProperties", error.json_path)
    first = min(errors, key=order, default=None)
    if first:
        raise InputError(describe_error(first))
    missing = next(missing_keys(config, schema), None)
    if missing:
        raise InputError(
            f"config: key '{missing}' is missing; config/config.yaml shows its default."
        )


# What each keyword of the schema asks for.
MUST = {
    "type": "be {}",
    "enum": "be one of {}",
    "not": "be odd",
    "required": "have the keys {}",
    "minimum": "be at least {}",
    "maximum": "be at most {}",
    "exclusiveMinimum": "be more than {}",
    "exclusiveMaximum": "be less than {}",
    "minItems": "have {} entries or more",
    "maxItems": "have {} entries or fewer",
    "uniqueItems": "name each entry once",
    "pattern": "have the form {}",
}
KINDS = {
    "object": "a block of keys",
    "array": "a list",
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def describe_error(error):
    key = error.json_path.removeprefix("$").removeprefix(".")
    if error.validator == "additionalProperties":
        return describe_unknown_key(error, key)
    wanted = error.validator_value
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        wanted = " or ".join(KINDS[kind] for kind in kinds)
    elif isinstance(wanted, list):
        wanted = ", ".join(map(str, wanted))
    must = MUST[error.validator].format(wanted)
    meaning = error.schema.get("description", "").split(". ")[0].rstrip(".")
    return f"config: key '{key}' is {error.instance!r}; it must {must}" + (
        f" ({meaning})." if meaning else "."
    )


def describe_unknown_key(error, key):
    valid = error.schema["properties"]
    wrong = next(name for name in error.instance if name not in valid)
    name = f"{key}.{wrong}" if key else wrong
    return (
        f"config: there is no key '{name}'{suggest(wrong, list(valid))}; "
        f"{key or 'the top level'} has {', '.join(valid)}."
    )


def missing_keys(block, schema, prefix=""):
    for name, part in schema.get("properties", {}).items():
        if name not in block:
            yield prefix + name
        elif isinstance(block[name], dict):
            yield from missing_keys(block[name], part, f"{prefix}{name}.")


def list_plugins(kind):
    """Names of the models or optimisers: one file each."""
    return sorted(path.stem for path in (PACKAGE / "psf" / kind).glob("[!_]*.py"))


def check_fit(model, optimiser):
    for kind, name, valid in (
        ("PSF model", model, MODELS),
        ("optimiser", optimiser, OPTIMISERS),
    ):
        if name not in valid:
            raise InputError(
                f"there is no {kind} '{name}'{suggest(name, valid)}; take one of "
                f"{', '.join(valid)} in the config key 'compare_fits.fits' and in file names."
            )


def check_catalogue(catalogue):
    kind, path = catalogue["kind"], catalogue["path"]
    if kind in ("detection", "table"):
        return
    if not path:
        raise InputError(
            f"config: key 'catalogue.path' is needed for the kind {kind}; "
            "write the directory of its shards."
        )
    if not os.path.isdir(path):
        raise InputError(
            f"config: key 'catalogue.path': there is no directory '{path}'; "
            f"write that of the shards of {kind}."
        )


def find_beside(path):
    """A relative path, from the working directory or else from that of the Snakefile."""
    return path if Path(path).exists() or not (BASE / path).exists() else BASE / path


def simulated_files(block):
    """Files of the simulated night, by the folders raw, sci and truth."""
    block = {key: value for key, value in block.items() if key != "linearity_tables"}
    night = make_settings(NightSettings, block, "config: simulate_raw")
    return {
        folder: [f"results/simulate_raw/{path}" for path in paths]
        for folder, paths in list_files(night).items()
    }


def list_frames(frames):
    """The raw frames of a frame sheet, or those of rule simulate_raw."""
    if frames == "simulate_raw":
        return sort_frames("config key 'simulate_raw'", SIMULATED["raw"])
    if not frames:
        return NO_FRAMES
    return read_frames(find_beside(frames), config["frames_root"] or "")


def calibrated_files(image):
    """Where rule calibrate_science puts a quadrant."""
    stem = f"results/calibrate_science/{image.exposure}/{image}"
    return ImageFiles(
        str(image),
        sciimg=f"{stem}_sciimg.fits",
        mskimg=f"{stem}_mskimg.fits",
        varimg=f"{stem}_varimg.fits",
    )


def list_images():
    """Image sheet of the images given, and of those that are made from raw frames."""
    sheet = NO_IMAGES
    if config["images"]:
        sheet = read_sheet(find_beside(config["images"]), config["data_root"] or "")
    elif not config["frames"]:
        raise InputError(
            "config: there are no images; name an image sheet in the key 'images' or a frame sheet "
            "in the key 'frames'."
        )
    made = [calibrated_files(image) for image in FRAMES.images()]
    return add_images(sheet, made, FRAMES.path) if made else sheet


with one_sentence():
    SCHEMA = yaml.safe_load((BASE / "config" / "schema.yaml").read_text())
    config.update(to_numbers(config, SCHEMA))
    check_config(config, SCHEMA)
    check_catalogue(config["catalogue"])
    MODELS, OPTIMISERS = list_plugins("models"), list_plugins("optimisers")
    FITS = config["compare_fits"]["fits"]
    for fit in FITS:
        check_fit(**fit)
    SIMULATED = simulated_files(config["simulate_raw"])
    FRAMES = list_frames(config["frames"])
    SHEET = list_images()


# --- files of a unit ---


@cache
def unit_images(unit):
    """The ImageFiles of an exposure, CCD or quadrant."""
    with one_sentence():
        return [with_catalogue(files) for files in SHEET.images(unit)]


def with_catalogue(files):
    if files.catalogue or config["catalogue"]["kind"] != "table":
        return files
    if not config["catalogue"]["path"]:
        raise InputError(
            f"{SHEET.path}: no catalogue for '{files.image}'; write a table in its column "
            "'catalogue', or in the config key 'catalogue.path'."
        )
    return files._replace(catalogue=config["catalogue"]["path"])


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


def obtainable(paths):
    """Without the files that nobody has: for want of one input, Snakemake would begin no job at all.

    The scripts take all paths from params, and fail for that image alone.
    """
    return [path for path in paths if is_obtainable(path)]


def made_files_of(name):
    """Input function: as files_of, but only files that a rule makes, which must be kept until used.

    The user's own images are inputs of select_stars; what follows from it need not name them again:
    a night has a hundred thousand, and each costs time wherever it is named.
    """
    return lambda wildcards: [
        path
        for path in dict.fromkeys(column(name)(wildcards))
        if path.startswith("results/") and is_obtainable(path)
    ]


def is_obtainable(path):
    """Whether a file exists or some rule makes it."""
    return os.path.exists(path) or any(
        maker.is_producer(path) for maker in workflow.rules
    )


def stamps_to_fit(wildcards):
    """Input function of fit_psf: the stamps, for a model and an optimiser that exist."""
    with one_sentence():
        check_fit(wildcards.model, wildcards.optimiser)
    return rules.cut_stamps.output.stamps


def fits_of(product):
    """Input function: one product of every fit that is compared, in the order of FITS."""
    return lambda wildcards: [
        f"results/fit_psf/{fit['model']}/{fit['optimiser']}/{wildcards.unit}_{product}"
        for fit in FITS
    ]


def all_products(wildcards):
    """Comparison of every unit; pictures and validation of the first fit of each model; fluxes by
    the first fit.
    """
    units = SHEET.units(config["unit"])
    first = {fit["model"]: fit["optimiser"] for fit in reversed(FITS)}
    products = expand(rules.compare_fits.output, unit=units)
    products += expand(rules.measure_photometry.output, **FITS[0], unit=units)
    for model, optimiser in first.items():
        for made in (rules.plot_psf.output, rules.validate_psf.output):
            products += expand(made, model=model, optimiser=optimiser, unit=units)
    if config["frames"] == "simulate_raw":
        products += expand(rules.compare_truth.output, **FITS[0], unit=true_units())
    return products


def true_units():
    """Units whose images are simulated, all of them."""
    simulated = {str(image) for image in FRAMES.images()}
    units = SHEET.units(config["unit"])
    return [
        unit
        for unit in units
        if simulated.issuperset(files.image for files in SHEET.images(unit))
    ]


def truth_of(product):
    """Input function: one product of the simulation for each image of a unit."""
    return lambda wildcards: [
        f"results/simulate_raw/truth/{files.image}_{product}"
        for files in unit_images(wildcards.unit)
    ]


def picture(stem):
    return f"{stem}.{config['plot_psf']['image_format']}"


# --- params ---


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


@cache
def code_hash(*scripts):
    """Hash of the modules of ztfpsf that some scripts import, directly or not.

    Snakemake watches the script of a rule only; with this hash in its params, an edit of a module
    reruns the rules that use it and no other.
    """
    modules, new = set(), {BASE / "scripts" / script for script in scripts}
    while new:
        modules |= new
        new = {module for file in new for module in imported_modules(file)} - modules
    digest = sha256()
    for module in sorted(modules):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:12]


@cache
def imported_modules(file):
    """Files of the modules of ztfpsf that a file imports, those of their packages included."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    paths = {
        PACKAGE.joinpath(*parts[:end])
        for top, *parts in (name.split(".") for name in names)
        for end in range(len(parts) + 1)
        if top == "ztfpsf"
    }
    modules = {path / "__init__.py" for path in paths}
    modules |= {path.with_suffix(".py") for path in paths}
    return {module for module in modules if module.is_file()}
