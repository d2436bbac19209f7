"""Polynomials of the position in the field, one for each profile parameter.

Sums of products of Legendre polynomials of total degree up to `degree`, in positions scaled to
[-1, 1]. The coefficients of K parameters are (K, B), B the number of terms.
"""

import numpy as np

STARS_PER_TERM = 3  # lower the degree rather than fit noise


def field_basis(
    x_px: np.ndarray, y_px: np.ndarray, nx: int | np.ndarray, ny: int | np.ndarray, degree: int
) -> np.ndarray:
    """Terms at positions of images of nx x ny px.

    `x_px`, `y_px`: (n,); `nx`, `ny`: of all, or (n,). Returns shape (n, B).
    """
    u = (2.0 * np.asarray(x_px, float) - (nx - 1)) / nx
    v = (2.0 * np.asarray(y_px, float) - (ny - 1)) / ny
    legendre_u = np.polynomial.legendre.legvander(u, degree)
    legendre_v = np.polynomial.legendre.legvander(v, degree)
    terms = [
        legendre_u[..., i] * legendre_v[..., total - i]
        for total in range(degree + 1)
        for i in range(total, -1, -1)
    ]
    return np.stack(terms, axis=-1)


def count_terms(degree: int) -> int:
    """Number of terms of a total degree, B."""
    return (degree + 1) * (degree + 2) // 2


def list_degrees(degree: int) -> list[int]:
    """Total degree of each term, in their order; B numbers."""
    return [total for total in range(degree + 1) for _ in range(total + 1)]


def choose_degree(degree: int, n_stars: int) -> int:
    """Largest degree up to `degree` with at least STARS_PER_TERM stars per term."""
    while degree > 0 and n_stars < STARS_PER_TERM * count_terms(degree):
        degree -= 1
    return degree


def propagate(covariance: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Covariance of the parameters at positions, (n, K, K).

    `covariance`: (K B, K B) of the coefficients; `basis`: (n, B).
    """
    n_terms = basis.shape[1]
    k = len(covariance) // n_terms
    blocks = covariance.reshape(k, n_terms, k, n_terms)
    return np.einsum("nb,kblc,nc->nkl", basis, blocks, basis, optimize=True)
