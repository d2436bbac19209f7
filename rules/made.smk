# What a run has made so far: the report tells of that, whatever failed, and begins nothing.
#
# REQUIRED INPUTS: SHEET, FRAMES and FITS of common.smk, the rules
# OUTPUTS: the functions that the rules of report.smk call
MOST_PICTURED = 10
# Rules whose products are those of images, in the order of the index.
INDEXED = (
    "select_stars",
    "cut_stamps",
    "fit_psf",
    "measure_photometry",
    "validate_psf",
    "plot_psf",
    "compare_fits",
    "export_psf",
)
FIRST_FIT = "{model}, {optimiser}".format(**FITS[0])


def there(paths):
    return [path for path in paths if os.path.exists(path)]


def psf_of_first_fit(wildcards):
    """Params function: pattern of the PSF files that the report shows."""
    return of_first_fit(rules.fit_psf.output.psf)


def of_first_fit(pattern):
    """The pattern of a product of the fit that the report shows; {unit} stays."""
    return pattern.replace("{model}", FITS[0]["model"]).replace(
        "{optimiser}", FITS[0]["optimiser"]
    )


def made(pattern, fits=FITS[:1]):
    """Input function: one product of some fits of all units, as far as it is there."""
    return lambda wildcards: there(
        path
        for fit in fits
        for path in expand(pattern, unit=SHEET.units(config["unit"]), **fit)
    )


def images_of_units(wildcards):
    """Params function: names of the images of every unit."""
    units = {}
    for name in SHEET.names:
        units.setdefault(parse_quadrant(name).unit(config["unit"]), []).append(name)
    return units


def steps_of_images(wildcards):
    """Params function: rule, product and log of the steps that an image goes through."""
    steps = [
        ("select_stars", "counts"),
        ("cut_stamps", "stamps"),
        ("fit_psf", "images"),
        ("validate_psf", "images"),
    ]
    steps = [(name, getattr(rules, name), product) for name, product in steps]
    if FRAMES.science:
        steps.insert(0, ("calibrate_science", rules.calibrate_science, "status"))
    return [
        [
            name,
            of_first_fit(getattr(one.output, product)),
            of_first_fit(one.log[0]),
        ]
        for name, one, product in steps
    ]


def products_of_images(wildcards):
    """Params function: rule, name, model, optimiser and pattern of all that can be made of an image."""
    stem = "results/calibrate_science/{exposure}/{image}"
    products = [
        ["calibrate_science", kind, "", "", f"{stem}_{kind}.fits"]
        for kind in ("sciimg", "varimg", "mskimg")
    ]
    for name in INDEXED:
        for product, path in getattr(rules, name).output.items():
            fits = FITS if "{model}" in path else [{"model": "", "optimiser": ""}]
            for fit in fits:
                pattern = path.replace("{model}", fit["model"])
                pattern = pattern.replace("{optimiser}", fit["optimiser"])
                products.append([name, product, *fit.values(), pattern])
    return products


def digest_of_products(wildcards):
    """Params function: changes when a file is made or removed."""
    files = sorted(
        f"{folder}/{file}"
        for name in (*INDEXED, "calibrate_science")
        for folder, _, files in os.walk(f"results/{name}")
        for file in files
    )
    return sha256("\n".join(files).encode()).hexdigest()[:12]


# --- masters ---


def masters_made(kind, nights, filtercode):
    """Paths of the masters of the CCDs of a night or period, by CCD."""
    paths = {
        ccdid: master_path(kind, nights, filtercode, f"{ccdid:02d}")
        for ccdid in range(1, 17)
    }
    return {ccdid: path for ccdid, path in paths.items() if os.path.exists(path)}


@cache
def nights_made():
    """Nights and periods with masters: kind, night and filter, in the order of time."""
    names = {(kind, night, light) for kind, night, light, _ in FRAMES.calibration}
    names |= {
        (kind, period, light)
        for kind, _, light in names
        for period in config["make_period_master"]["periods"]
    }
    return sorted(name for name in names if masters_made(*name))


def kind_letter(wildcards):
    return next(letter for letter, kind in KINDS.items() if kind == wildcards.kind)


def masters_of_focal_plane(wildcards):
    """Input function: masters that are there, and the normalisation of flats."""
    kind = kind_letter(wildcards)
    inputs = {
        "masters": [
            *masters_made(kind, wildcards.nights, wildcards.filtercode).values()
        ]
    }
    focal_plane = rules.normalise_flats.output[0].format(**wildcards)
    if kind == "f" and os.path.exists(focal_plane):
        inputs["focal_plane"] = focal_plane
    return inputs


def earlier_binned(wildcards):
    """Binned masters of the last night before, of this run or another: its name and file, or ""."""
    name = f"{wildcards.filtercode}_{wildcards.kind}.fits"
    found = {
        nights: rules.bin_masters.output.binned.format(
            **{**wildcards, "nights": nights}
        )
        for kind, nights, light in nights_made()
        if (kind, light) == (kind_letter(wildcards), wildcards.filtercode)
    }
    if config["report"]["earlier_results"]:
        folder = Path(config["report"]["earlier_results"]) / "bin_masters"
        for path in folder.glob(f"*/ztfpsf_*_000000_{name}"):
            found.setdefault(path.parent.name, str(path))
    # A night is compared with nights, a period with periods.
    earlier = [
        (nights, path)
        for nights, path in found.items()
        if nights < wildcards.nights and len(nights) == len(wildcards.nights)
    ]
    return max(earlier, default=("", ""))


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
    units = SHEET.units(config["unit"])
    named = config["report"]["units"]
    with one_sentence():
        for unit in named:
            SHEET.images(unit)
    return named or (units if len(units) <= MOST_PICTURED else [])


def pictures_of_units():
    """Pictures of single units that are there, with what the report says of them."""
    shown = {
        "loss": rules.compare_fits.output.loss,
        **{
            name: rules.plot_psf.output[name]
            for name in ("psf", "residuals", "chi2", "star")
        },
        "validation": rules.validate_psf.output.picture,
        "photometry": rules.measure_photometry.output.residual,
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
