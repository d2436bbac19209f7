"""The cost of a survey, worked out by hand."""

import pytest
from cost import JOB_CPU_S, Rates, spans, survey_cost


def test_cost_of_a_night() -> None:
    # 64,000 images at 0.45 CPU s are 8 hours; 1000 exposures of 7 jobs cost 7 s each.
    cost = survey_cost(64_000, Rates(0.45, None), 7)
    assert cost.fits_cpu == pytest.approx(8.0)
    assert cost.jobs_cpu == pytest.approx(7000 * JOB_CPU_S / 3600)
    assert cost.fits_gpu is None
    assert survey_cost(64_000, Rates(0.45, 2000.0), 7).fits_gpu == pytest.approx(32 / 3600)


def test_spans_of_the_readme() -> None:
    assert list(spans().values()) == [64_000, 16_000_000, 50_000_000, 500_000_000]
