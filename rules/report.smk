# One page about a whole run: snakemake --report report.html report
#
# REQUIRED INPUTS: what the other rules have made, as far as it is there
# OUTPUTS: results/summarise_run/images.parquet, fits.parquet
#          results/plot_run/night.png, selection.png, stars.png, psf.png, pockets.png,
#          statuses.html, timing.html
#          results/bin_masters/{nights}/ztfpsf_{nights}_000000_{filtercode}_{kind}.fits
#          results/plot_masters/{nights}/ztfpsf_{nights}_000000_{filtercode}_{kind}.png
#          results/index.parquet


rule summarise_run:
    "tables of all images and fits that are there"
    input:
        counts=made(rules.select_stars.output.counts),
        stamps=made(rules.cut_stamps.output.stamps),
        pocket=made(rules.measure_pocket.output.pocket),
        psf=made(rules.fit_psf.output.psf),
        fits=made(rules.fit_psf.output.images, FITS),
        validated=made(rules.validate_psf.output.images),
    output:
        images="results/summarise_run/images.parquet",
        fits="results/summarise_run/fits.parquet",
    log:
        "logs/summarise_run/run.log",
    conda:
        "../envs/cpu.yaml"
    params:
        units=images_of_units,
        steps=steps_of_images,
        psf=psf_of_first_fit,
        code=code_hash("summarise_run.py"),
    script:
        "../scripts/summarise_run.py"


rule plot_run:
    "pictures of all images against time and on the focal plane"
    input:
        images=rules.summarise_run.output.images,
        fits=rules.summarise_run.output.fits,
    output:
        night=report(
            picture("results/plot_run/night"),
            caption="captions/night.rst",
            category="Run",
            labels={"what": "1. the run against time"},
        ),
        statuses=report(
            "results/plot_run/statuses.html",
            caption="captions/statuses.rst",
            category="Run",
            labels={"what": "2. images: verdicts and failures"},
        ),
        timing=report(
            "results/plot_run/timing.html",
            caption="captions/timing.rst",
            category="Run",
            labels={"what": "3. time of the fits"},
        ),
        selection=report(
            picture("results/plot_run/selection"),
            caption="captions/selection.rst",
            category="Stars",
            labels={"what": "kept and rejected stars"},
        ),
        stars=report(
            picture("results/plot_run/stars"),
            caption="captions/stars.rst",
            category="Stars",
            labels={"what": "stars and depth on the focal plane"},
        ),
        psf=report(
            picture("results/plot_run/psf"),
            caption="captions/focal_plane.rst",
            category="PSF",
            subcategory="focal plane",
            labels={"picture": "focal plane", "fit": FIRST_FIT},
        ),
        pockets=report(
            picture("results/plot_run/pockets"),
            caption="captions/pockets.rst",
            category="Run",
            labels={"what": "4. capacity of the pockets"},
        ),
    log:
        "logs/plot_run/run.log",
    conda:
        "../envs/cpu.yaml"
    params:
        fit=FIRST_FIT,
        code=code_hash("plot_run.py"),
    script:
        "../scripts/plot_run.py"


rule bin_masters:
    input:
        unpack(masters_of_focal_plane),
    output:
        binned="results/bin_masters/{nights}/ztfpsf_{nights}_000000_{filtercode}_{kind}.fits",
    log:
        "logs/bin_masters/{nights}_{filtercode}_{kind}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        ccdids=lambda wildcards: [*masters_on_focal_plane(wildcards)],
        code=code_hash("bin_masters.py"),
    script:
        "../scripts/bin_masters.py"


rule plot_masters:
    input:
        unpack(earlier_masters),
        binned=rules.bin_masters.output.binned,
    output:
        picture=report(
            picture(
                "results/plot_masters/{nights}/ztfpsf_{nights}_000000_{filtercode}_{kind}"
            ),
            caption="captions/masters.rst",
            category="Calibration",
            labels={"night": "{nights}", "filter": "{filtercode}", "master": "{kind}"},
        ),
    log:
        "logs/plot_masters/{nights}_{filtercode}_{kind}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        earlier=earlier_night,
        code=code_hash("plot_masters.py"),
    script:
        "../scripts/plot_masters.py"


rule index_products:
    "results/index.parquet: where the files of every image are"
    input:
        images=rules.summarise_run.output.images,
    output:
        index="results/index.parquet",
    log:
        "logs/index_products/run.log",
    conda:
        "../envs/cpu.yaml"
    params:
        products=products_of_images,
        made=digest_of_products,
        code=code_hash("index_products.py"),
    script:
        "../scripts/index_products.py"


rule report:
    "all that the page about the run shows: snakemake --report page.html report"
    input:
        rules.plot_run.output,
        rules.index_products.output,
        lambda wildcards: products.there([rules.time_fits.output.picture]),
        lambda wildcards: products.there(
            expand(rules.plot_survey.output, filtercode=FILTERCODES)
        ),
        lambda wildcards: products.there(
            every_lightcurve(rules.plot_lightcurve.output)(wildcards)
        ),
        pictures_of_masters,
        [*pictures_of_units()],
        [*pictures_of_other_lightcurves()],
