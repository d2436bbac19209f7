"""Field polynomial through the shapes of single stars."""

import numpy as np


def fit_field(
    shape: np.ndarray, shape_covariance: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Field polynomial through shapes of single stars, each shape parameter by itself.

    Weighted by the errors and by how much the stars scatter around the polynomial beyond them;
    iterated without stars off by more than 5 sigma. `shape`: (n, K), `basis`: (n, B).
    Returns coefficients (K, B) and their covariance (K B, K B).
    """
    k = shape.shape[1]
    n_terms = basis.shape[1]
    variance = np.diagonal(shape_covariance, axis1=1, axis2=2)
    coefficients = np.zeros((k, n_terms))
    covariance_blocks = np.zeros((k, n_terms, k, n_terms))
    for parameter in range(k):
        value, error2 = shape[:, parameter], variance[:, parameter]
        keep = np.isfinite(value) & np.isfinite(error2) & (error2 > 0)
        intrinsic2 = 0.0
        for _ in range(10):
            weight = np.where(keep, 1.0 / np.where(keep, error2 + intrinsic2, 1.0), 0.0)
            inverse = np.linalg.pinv(basis.T @ (weight[:, None] * basis))
            coefficients[parameter] = inverse @ (basis.T @ (weight * np.where(keep, value, 0.0)))
            residual = value - basis @ coefficients[parameter]
            spread2 = np.median(residual[keep] ** 2) / 0.455 - np.median(error2[keep])
            intrinsic2 = max(spread2, 0.0)
            with np.errstate(invalid="ignore"):
                keep &= residual**2 < 25.0 * (error2 + intrinsic2)
        covariance_blocks[parameter, :, parameter, :] = inverse
    return coefficients, covariance_blocks.reshape(k * n_terms, k * n_terms)
