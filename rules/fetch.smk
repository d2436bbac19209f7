# A real image to try things on, public in the source distribution of ztfimg.
#
# REQUIRED INPUTS: none; a package index that pip can reach
# OUTPUTS: results/fetch_sample/{image}_{sciimg,mskimg}.fits of the one sample image


rule fetch_sample:
    "the public sample image, 31 MB"
    output:
        sciimg="results/fetch_sample/ztf_20200924431759_000655_zr_c13_o_q3_sciimg.fits",
        mskimg="results/fetch_sample/ztf_20200924431759_000655_zr_c13_o_q3_mskimg.fits",
    log:
        "logs/fetch_sample/ztf_20200924431759_000655_zr_c13_o_q3.log",
    conda:
        "../envs/cpu.yaml"
    script:
        "../scripts/fetch_sample.py"
