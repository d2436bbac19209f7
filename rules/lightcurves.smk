# Light curves of the targets of the target sheet; name a target.
#
# REQUIRED INPUTS: images, masks and variances that may hold a target, of the unit
#   results/cut_stamps/, fit_psf/, measure_photometry/ and validate_psf/ of the first fit
# OUTPUTS: results/cut_targets/{unit}_targets.fits
#   results/match_stars/{group}_exposures.parquet, {group}_stars.parquet, {group}_measurements.parquet
#   results/fit_maps/{group}_maps.parquet
#   results/solve_ratios/{group}_ratios.parquet, {group}_stars.parquet
#   results/extract_lightcurve/{target}_{filtercode}_*, and in plot_lightcurve/, export_lightcurve/


# A unit is cut again when one of its own targets is new: params name no other one.
rule cut_targets:
    input:
        sciimg=target_files_of("sciimg"),
        mskimg=target_files_of("mskimg"),
        varimg=target_files_of("varimg"),
    output:
        targets="results/cut_targets/{unit}_targets.fits",
    log:
        "logs/cut_targets/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        images=target_column("image"),
        sciimg=target_column("sciimg"),
        mskimg=target_column("mskimg"),
        varimg=target_column("varimg"),
        targets=lambda wildcards: targets_of_unit(wildcards.unit)[1],
        size_px=config["cut_targets"]["size_px"],
        bad_mask_bits=config["select_stars"]["bad_mask_bits"],
        saturation_fraction=config["select_stars"]["saturation_fraction"],
        subtracted_sky=config["select_stars"]["subtracted_sky"],
        max_failed_fraction=untracked(config["max_failed_fraction"]),
        code=code_hash("cut_targets.py"),
    script:
        "../scripts/cut_targets.py"


# Of one field, filter and quadrant, in all exposures: what the stars say of them.
rule match_stars:
    input:
        stamps=of_group(rules.cut_stamps.output.stamps),
        fits=of_group(rules.fit_psf.output.images),
        verdicts=of_group(rules.validate_psf.output.images),
        photometry=of_group(rules.measure_photometry.output.photometry),
        reference=obtainable(
            filter(None, [config["collect_survey"]["reference"]["path"]])
        ),
    output:
        exposures="results/match_stars/{group}_exposures.parquet",
        stars="results/match_stars/{group}_stars.parquet",
        measurements="results/match_stars/{group}_measurements.parquet",
    log:
        "logs/match_stars/{group}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        images=lambda wildcards: SHEET.images_by_group[wildcards.group],
        settings=settings("collect_survey", "dataset"),
        code=code_hash("match_stars.py"),
    script:
        "../scripts/match_stars.py"


rule fit_maps:
    input:
        **rules.match_stars.output,
    output:
        maps="results/fit_maps/{group}_maps.parquet",
    log:
        "logs/fit_maps/{group}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code_hash("fit_maps.py"),
    script:
        "../scripts/fit_maps.py"


rule solve_ratios:
    input:
        **rules.match_stars.output,
    output:
        ratios="results/solve_ratios/{group}_ratios.parquet",
        stars="results/solve_ratios/{group}_stars.parquet",
    log:
        "logs/solve_ratios/{group}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code_hash("solve_ratios.py"),
    script:
        "../scripts/solve_ratios.py"


rule extract_lightcurve:
    input:
        exposures=of_groups(rules.match_stars.output.exposures),
        maps=of_groups(rules.fit_maps.output.maps),
        ratios=of_groups(rules.solve_ratios.output.ratios),
        stars=of_groups(rules.solve_ratios.output.stars),
        targets=of_target(rules.cut_targets.output.targets),
        stamps=of_target(rules.cut_stamps.output.stamps),
        psf=of_target(rules.fit_psf.output.psf),
        survey=lambda wildcards: obtainable(calibrating_survey(wildcards)),
    output:
        lightcurve="results/extract_lightcurve/{target}_{filtercode}_lightcurve.parquet",
        covariance="results/extract_lightcurve/{target}_{filtercode}_covariance.fits",
        host="results/extract_lightcurve/{target}_{filtercode}_host.fits",
        stars="results/extract_lightcurve/{target}_{filtercode}_stars.parquet",
        star_curves="results/extract_lightcurve/{target}_{filtercode}_starcurves.parquet",
        record="results/extract_lightcurve/{target}_{filtercode}_record.json",
    log:
        "logs/extract_lightcurve/{target}_{filtercode}.log",
    conda:
        "../envs/cuda12.yaml" if config["device"] == "gpu" else "../envs/cpu.yaml"
    threads: 2
    params:
        target=target_of,
        survey=calibrating_survey,
        match_arcsec=config["collect_survey"]["match_arcsec"],
        verdicts=config["collect_survey"]["verdicts"],
        settings=settings("extract_lightcurve", "survey"),
        device=untracked(config["device"]),
        code=code_hash("extract_lightcurve.py"),
    script:
        "../scripts/extract_lightcurve.py"


rule plot_lightcurve:
    input:
        **rules.extract_lightcurve.output,
    output:
        picture=report(
            picture("results/plot_lightcurve/{target}_{filtercode}_lightcurve"),
            caption="captions/lightcurve.rst",
            category="Light curves",
            labels=LIGHTCURVE_LABELS,
        ),
    log:
        "logs/plot_lightcurve/{target}_{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code_hash("plot_lightcurve.py"),
    script:
        "../scripts/plot_lightcurve.py"


rule export_lightcurve:
    input:
        lightcurve=rules.extract_lightcurve.output.lightcurve,
        covariance=rules.extract_lightcurve.output.covariance,
        record=rules.extract_lightcurve.output.record,
    output:
        sncosmo="results/export_lightcurve/{target}_{filtercode}_sncosmo.ecsv",
        dr2="results/export_lightcurve/{target}_{filtercode}_LC.csv",
        forced="results/export_lightcurve/{target}_{filtercode}_forced.txt",
    log:
        "logs/export_lightcurve/{target}_{filtercode}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code_hash("export_lightcurve.py"),
    script:
        "../scripts/export_lightcurve.py"


rule lightcurves:
    "pictures and exports of all targets of the sheet that the images may hold"
    input:
        every_lightcurve(rules.plot_lightcurve.output),
        every_lightcurve(rules.export_lightcurve.output),
