# Pictures of one fit.
#
# REQUIRED INPUTS: results/cut_stamps/{unit}_stamps.fits, results/fit_psf/{model}/{optimiser}/{unit}_*
# OUTPUTS: results/plot_psf/{model}/{optimiser}/{unit}_{residuals,chi2,star,psf,pocket}.png


rule plot_psf:
    input:
        stamps=rules.cut_stamps.output.stamps,
        stars=rules.fit_psf.output.stars,
        images=rules.fit_psf.output.images,
        psf=rules.fit_psf.output.psf,
    output:
        residuals=picture("results/plot_psf/{model}/{optimiser}/{unit}_residuals"),
        chi2=picture("results/plot_psf/{model}/{optimiser}/{unit}_chi2"),
        star=picture("results/plot_psf/{model}/{optimiser}/{unit}_star"),
        psf=picture("results/plot_psf/{model}/{optimiser}/{unit}_psf"),
        pocket=picture("results/plot_psf/{model}/{optimiser}/{unit}_pocket"),
    log:
        "logs/plot_psf/{model}/{optimiser}/{unit}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        settings=settings("plot_psf", "image_format"),
        code=code_hash("plot_psf.py"),
    script:
        "../scripts/plot_psf.py"
