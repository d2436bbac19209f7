# Which images may hold which targets, as the rules of lightcurves.smk need it.
#
# REQUIRED INPUTS: SHEET and TARGETS of common.smk
# OUTPUTS: the functions that the rules of lightcurves.smk call

# The page about the run looks for the picture's name.
LIGHTCURVE_LABELS = {
    "picture": "light curve",
    "target": "{target}",
    "filter": "{filtercode}",
}


@cache
def targets_of_unit(unit):
    """Images of a unit that may hold targets, and those of the sheet that they may hold."""
    files = {one.image: one for one in unit_images(unit)}
    held = targets.find_targets(files, TARGETS.targets.values())
    places = {one[:3] for of_image in held.values() for one in of_image}
    return [files[image] for image in held], sorted(places)


def units_with_targets():
    """Units with an image that may hold a target of the sheet."""
    if not TARGETS.targets:
        return []
    images = targets.find_targets(SHEET.names, TARGETS.targets.values())
    return targets.find_units(images, images_by_unit())


def target_column(name):
    """Params function: as column, of the images that may hold targets."""
    return lambda wildcards: [
        getattr(files, name) for files in targets_of_unit(wildcards.unit)[0]
    ]


def target_files_of(name):
    """Input function: as files_of, of the images that may hold targets."""
    return lambda wildcards: obtainable(dict.fromkeys(target_column(name)(wildcards)))


def of_group(product):
    """Input function: one product of the first fit of all units with an image of the group."""

    def find(wildcards):
        with one_sentence():
            images = targets.find_group(SHEET, wildcards.group)
        return expand(
            product, **FITS[0], unit=targets.find_units(images, images_by_unit())
        )

    return find


def target_of(wildcards):
    """Params function: the target of a light curve."""
    with one_sentence():
        target = TARGETS.find(wildcards.target, wildcards.filtercode)
    named = target._asdict()
    return {key: value for key, value in named.items() if key != "filters"}


@cache
def groups_of_target(target, filtercode):
    """Groups that may hold a target."""
    with one_sentence():
        return targets.find_groups(SHEET, TARGETS.find(target, filtercode), filtercode)


def of_groups(product):
    """Input function: one product of all groups that may hold a target."""
    return lambda wildcards: expand(
        product, group=groups_of_target(wildcards.target, wildcards.filtercode)
    )


def of_target(product):
    """Input function: one product of the first fit of all units with an image that may hold it."""

    def find(wildcards):
        groups = groups_of_target(wildcards.target, wildcards.filtercode)
        images = [image for group in groups for image in SHEET.images_by_group[group]]
        return expand(
            product, **FITS[0], unit=targets.find_units(images, images_by_unit())
        )

    return find


@cache
def lightcurves_of_sheet():
    """Target and filter of all light curves that there are images for; the others are told."""
    found = targets.list_lightcurves(SHEET, TARGETS)
    print(*found.faults, sep="\n", file=sys.stderr, end="\n" if found.faults else "")
    return found.wanted


def every_lightcurve(product):
    """Input function: products of all targets."""
    return lambda wildcards: [
        path
        for target, filtercode in lightcurves_of_sheet()
        for path in expand(product, target=target, filtercode=filtercode)
    ]
