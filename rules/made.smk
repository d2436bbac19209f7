# What a run has made so far, as the rules of report.smk need it.
#
# REQUIRED INPUTS: SHEET, FRAMES and FITS of common.smk, the rules
# OUTPUTS: the functions that the rules of report.smk call
from ztfpsf_workflow import products
from ztfpsf_workflow.masters import KINDS, find_earlier

MOST_PICTURED = 10
# Rules whose products are those of images, in the order of the index.
INDEXED = (
    "select_stars",
    "cut_stamps",
    "measure_pocket",
    "plot_pocket",
    "fit_psf",
    "measure_photometry",
    "validate_psf",
    "plot_psf",
    "compare_fits",
    "export_psf",
)
FIRST_FIT = "{model}, {optimiser}".format(**FITS[0])


def of_first_fit(pattern):
    """The pattern of a product of the fit that the report shows; {unit} stays."""
    return products.of_fit(pattern, FITS[0])


def psf_of_first_fit(wildcards):
    """Params function: pattern of the PSF files that the report shows."""
    return of_first_fit(rules.fit_psf.output.psf)


def made(pattern, fits=FITS[:1]):
    """Input function: one product of some fits of all units, as far as it is there."""
    return lambda wildcards: products.find_made(pattern, fits, images_by_unit())


def images_of_units(wildcards):
    """Params function: names of the images of every unit."""
    return images_by_unit()


def steps_of_images(wildcards):
    """Params function: rule, product and log of the steps that an image goes through."""
    steps = {
        "select_stars": "counts",
        "cut_stamps": "stamps",
        "measure_pocket": "pocket",
        "fit_psf": "images",
        "validate_psf": "images",
    }
    if FRAMES.science:
        steps = {"calibrate_science": "status", **steps}
    return [
        [name, of_first_fit(one.output[product]), of_first_fit(one.log[0])]
        for name, product in steps.items()
        for one in [getattr(rules, name)]
    ]


def products_of_images(wildcards):
    """Params function: rule, name, model, optimiser and pattern of all that can be made of an image."""
    outputs = {name: dict(getattr(rules, name).output.items()) for name in INDEXED}
    return products.list_products(outputs, FITS)


def digest_of_products(wildcards):
    """Params function: changes when a file is made or removed."""
    return products.digest_files((*INDEXED, "calibrate_science"))


# --- masters ---


@cache
def nights_made():
    return masters().nights_made()


def masters_on_focal_plane(wildcards):
    """Masters that are there, by CCD."""
    kind = kind_letter(wildcards.kind)
    return masters().made(kind, wildcards.nights, wildcards.filtercode)


def masters_of_focal_plane(wildcards):
    """Input function: masters that are there, and the normalisation of flats."""
    inputs_made = {"masters": [*masters_on_focal_plane(wildcards).values()]}
    focal_plane = masters().focal_plane(wildcards.nights, wildcards.filtercode)
    if wildcards.kind == "flat" and os.path.exists(focal_plane):
        inputs_made["focal_plane"] = focal_plane
    return inputs_made


def earlier_binned(wildcards):
    """Binned masters of the last night before, of this run or another: its name and file, or ""."""
    wanted = kind_letter(wildcards.kind), wildcards.filtercode
    binned = rules.bin_masters.output.binned
    found = {
        nights: binned.format(**{**wildcards, "nights": nights})
        for kind, nights, light in nights_made()
        if (kind, light) == wanted
    }
    if config["report"]["earlier_results"]:
        folder = Path(config["report"]["earlier_results"]) / "bin_masters"
        name = f"{wildcards.filtercode}_{wildcards.kind}.fits"
        for path in folder.glob(f"*/ztfpsf_*_000000_{name}"):
            found.setdefault(path.parent.name, str(path))
    return find_earlier(found, wildcards.nights)


def earlier_night(wildcards):
    """Params function: name of the night before, or ""."""
    return earlier_binned(wildcards)[0]


def earlier_masters(wildcards):
    """Input function: the binned masters of the night before, if there is one."""
    _, path = earlier_binned(wildcards)
    return {"earlier": path} if path else {}


def pictures_of_masters(wildcards):
    """Input function: pictures of all masters that are there."""
    return [
        rules.plot_masters.output.picture.format(
            kind=KINDS[kind], nights=nights, filtercode=light
        )
        for kind, nights, light in nights_made()
    ]


# --- pictures of single units ---


def pictured_units():
    """The units that the report shows one by one: those named, or all if there are few."""
    units = [*images_by_unit()]
    named = config["report"]["units"]
    with one_sentence():
        for unit in named:
            SHEET.images(unit)
    return named or (units if len(units) <= MOST_PICTURED else [])


def pictures_of_units():
    """Pictures of single units that are there, with what the report says of them."""
    drawn = rules.plot_psf.output
    shown = {
        "loss": rules.compare_fits.output.loss,
        **{name: drawn[name] for name in ("psf", "residuals", "chi2", "star")},
        "pocket_stars": drawn["pocket"],
        "validation": rules.validate_psf.output.picture,
        "photometry": rules.measure_photometry.output.residual,
        "pocket": rules.plot_pocket.output.picture,
    }
    for unit in pictured_units():
        for name, pattern in shown.items():
            path = of_first_fit(pattern).format(unit=unit)
            if os.path.exists(path):
                yield report(
                    path,
                    caption=f"captions/{name}.rst",
                    category="PSF",
                    subcategory=unit,
                    labels={"picture": name, "fit": FIRST_FIT},
                )


# --- light curves of targets that this run does not name ---


def pictures_of_other_lightcurves():
    """Those that are there: of a run of other images in the same directory.

    Their paths are absolute, since this run knows no images to make them from.
    """
    pattern = os.path.abspath(rules.plot_lightcurve.output.picture)
    for target, filtercode in zip(*glob_wildcards(pattern)):
        if target not in TARGETS.targets:
            named = {"target": target, "filtercode": filtercode}
            yield report(
                pattern.format(**named),
                caption="captions/lightcurve.rst",
                category="Light curves",
                labels={
                    key: text.format(**named) for key, text in LIGHTCURVE_LABELS.items()
                },
            )
