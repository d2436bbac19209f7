"""What a survey costs in hours of processors and GPUs, from measured rates."""

from typing import NamedTuple

QUADRANTS = 64
EXPOSURES_PER_NIGHT = 1000
NIGHTS_PER_YEAR = 250
ZTF_IMAGES = 50_000_000
LSST_FACTOR = 10
JOB_CPU_S = 7.0  # of SLURM and Snakemake on the node; 6 to 8 were measured


class Rates(NamedTuple):
    """Measured cost of the fit of one image, start-up left out."""

    cpu_s: float
    gpu_images_s: float | None  # images per second and GPU; None, not measured


class Cost(NamedTuple):
    """Hours."""

    jobs_cpu: float  # of SLURM and Snakemake, wherever fits run
    fits_cpu: float  # of the fits on CPUs
    fits_gpu: float | None  # of the fits on GPUs instead


def survey_cost(n_images: float, rates: Rates, jobs_per_exposure: int) -> Cost:
    """Cost of `n_images` of which each exposure takes so many jobs."""
    n_jobs = n_images / QUADRANTS * jobs_per_exposure
    gpu = None if rates.gpu_images_s is None else n_images / rates.gpu_images_s / 3600
    return Cost(n_jobs * JOB_CPU_S / 3600, n_images * rates.cpu_s / 3600, gpu)


def spans() -> dict[str, int]:
    """Numbers of images that docs/numbers.md speaks of."""
    night = QUADRANTS * EXPOSURES_PER_NIGHT
    return {
        "a night": night,
        "a year": night * NIGHTS_PER_YEAR,
        "50 million images": ZTF_IMAGES,
        "500 million (LSST)": ZTF_IMAGES * LSST_FACTOR,
    }
