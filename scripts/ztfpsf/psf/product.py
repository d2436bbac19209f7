"""The PSF of an image as a product: a FITS file, and an object that draws it."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits

from ztfpsf.errors import InputError
from ztfpsf.io import write_fits
from ztfpsf.psf.flux import FluxRange, grid_basis
from ztfpsf.psf.grid import Grid, add_grid
from ztfpsf.psf.image import padded_size
from ztfpsf.psf.models import get_model
from ztfpsf.psf.problem import field_basis

PICTURE_SIZE_PX = 51


class PsfGrid(NamedTuple):
    """The residual grid of a PSF: its nodes as functions of field position and flux."""

    nodes: np.ndarray  # (G, C)
    error: np.ndarray  # (G, C)
    degree: int
    flux_terms: tuple[str, ...]
    flux_range: FluxRange
    geometry: Grid


class Psf(NamedTuple):
    """PSF of one image: polynomials of the field position for each shape parameter."""

    image: str
    model: Any
    coefficients: np.ndarray  # (K, B)
    covariance: np.ndarray  # (K B, K B)
    degree: int
    nx: int
    ny: int
    grid: PsfGrid | None = None

    def shape(self, x_px: float, y_px: float) -> np.ndarray:
        """Shape parameters at a position of the image, (K,), as the model's `Shape`."""
        basis = field_basis([x_px], [y_px], self.nx, self.ny, self.degree)
        return self.coefficients @ basis[0]

    def shapes(
        self, x_px: np.ndarray, y_px: np.ndarray, flux_adu: np.ndarray | None = None
    ) -> np.ndarray:
        """Shapes at positions (n,), as `ztfpsf.psf.problem.star_psf` takes them, (n, K + G).

        `flux_adu`: (n,) where the PSF changes with flux; by default that of a typical fitted star.
        """
        basis = field_basis(x_px, y_px, self.nx, self.ny, self.degree)
        profiles = basis @ self.coefficients.T
        if self.grid is None:
            return profiles
        grid = self.grid
        flux = np.full(len(basis), grid.flux_range.typical) if flux_adu is None else flux_adu
        terms = grid_basis(basis, flux, grid.flux_range, grid.degree, grid.flux_terms)
        return np.concatenate([profiles, terms @ grid.nodes.T], axis=1)

    def stamp(
        self, x_px: float, y_px: float, size_px: int = 25, flux_adu: float | None = None
    ) -> np.ndarray:
        """PSF of a star at (x_px, y_px), integrated over each pixel.

        Drawn on the `size_px` x `size_px` window (odd) around the nearest pixel,
        floor(position + 0.5), [row, column]; flux 1 over the whole plane, so that the sum falls
        short of 1 by the light outside the window. float64. `flux_adu`: see `shapes`.
        """
        import jax

        if size_px < 1 or size_px % 2 == 0:
            raise InputError(f"size_px is {size_px}; a stamp has an odd number of pixels.")
        nearest = np.floor(np.array([x_px, y_px]) + 0.5)
        with jax.enable_x64(True):
            offset = np.array([x_px, y_px]) - nearest
            flux = None if flux_adu is None else np.array([flux_adu])
            shape = self.shapes(np.array([x_px]), np.array([y_px]), flux)[0]
            return np.asarray(_drawer()(self.model, offset, shape, size_px))

    def describe(self, x_px: float, y_px: float) -> dict[str, tuple[float, float]]:
        """Value and error of every shape parameter in the field's terms at a position."""
        basis = field_basis([x_px], [y_px], self.nx, self.ny, self.degree)
        values, errors = describe_shapes(
            self.model,
            basis @ self.coefficients.T,
            propagate(self.covariance, basis),
        )
        return {name: (float(values[name][0]), float(errors[name][0])) for name in values}


def propagate(coefficients_covariance: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Covariance of the shape at positions, (n, K, K), from that of the coefficients."""
    n_terms = basis.shape[1]
    k = len(coefficients_covariance) // n_terms
    blocks = coefficients_covariance.reshape(k, n_terms, k, n_terms)
    return np.einsum("nb,kblc,nc->nkl", basis, blocks, basis, optimize=True)


@cache
def _describer() -> Callable:
    """Description of shapes (n, K) and its derivative, compiled once per model."""
    import jax
    import jax.numpy as jnp

    @partial(jax.jit, static_argnums=0)
    def evaluate(model: Any, shapes: jax.Array) -> tuple[jax.Array, jax.Array]:
        def describe(vector: jax.Array) -> jax.Array:
            return jnp.stack(list(model.describe(model.Shape(*vector))))

        return jax.vmap(describe)(shapes), jax.vmap(jax.jacfwd(describe))(shapes)

    return evaluate


@cache
def _drawer() -> Callable:
    """`star_psf`, compiled once per model and size."""
    import jax

    from ztfpsf.psf.problem import star_psf

    return jax.jit(star_psf, static_argnums=(0, 3))


def describe_shapes(
    model: Any, shape: np.ndarray, covariance: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Shapes (n, K) in the field's terms with errors by linear propagation, each (n,) by name."""
    import jax

    # One star more often than not, else a few hundred: two sizes to compile.
    size = 1 if len(shape) == 1 else padded_size(len(shape))
    padded = np.concatenate([shape, np.repeat(shape[:1], size - len(shape), axis=0)])
    with jax.enable_x64(True):
        found = _describer()(model, padded.astype(float))
    value, jacobian = (np.asarray(part)[: len(shape)] for part in found)
    variance = np.einsum("ndk,nkl,ndl->nd", jacobian, covariance, jacobian)
    error = np.sqrt(np.maximum(variance, 0.0))
    names = model.describe(model.Shape(*shape[:1].T))._fields
    return dict(zip(names, value.T, strict=True)), dict(zip(names, error.T, strict=True))


def write_psfs(
    psfs: Sequence[Psf], model_name: str, path: str | Path, provenance: dict[str, Any]
) -> None:
    """Write the PSFs of a unit's images, which share the model.

    HDU PSF: a row per image (image, degree, nx, ny, coefficients (K B), covariance (K B)^2, in the
    order of the model's Shape, each parameter with its Legendre terms up to the row's degree).
    Models with a grid add grid_spacing and grid_radius (px), grid_degree, flux_low, flux_typical,
    flux_high (ADU), and grid and grid_error (G C), node by node (rows of y first) with its terms of
    position and then of flux.
    HDU CENTRE: the PSF at the centre of each image, for a look with an image viewer.
    """
    rows = [
        fits.Column("image", "37A", array=[psf.image for psf in psfs]),
        fits.Column("degree", "J", array=[psf.degree for psf in psfs]),
        fits.Column("nx", "J", array=[psf.nx for psf in psfs]),
        fits.Column("ny", "J", array=[psf.ny for psf in psfs]),
        fits.Column("coefficients", "PD()", array=_ragged([p.coefficients.ravel() for p in psfs])),
        fits.Column("covariance", "PD()", array=_ragged([p.covariance.ravel() for p in psfs])),
    ]
    has_grid = bool(psfs) and psfs[0].grid is not None
    grid_columns = _grid_columns([psf.grid for psf in psfs]) if has_grid else []
    table = fits.BinTableHDU.from_columns(rows + grid_columns, name="PSF")
    table.header["MODEL"] = (model_name, "PSF model")
    if has_grid:
        table.header["FLUXTERM"] = (" ".join(psfs[0].grid.flux_terms), "terms of flux")
    centre = np.zeros((len(psfs), PICTURE_SIZE_PX, PICTURE_SIZE_PX))
    for picture, psf in zip(centre, psfs, strict=True):
        picture[:] = psf.stamp(psf.nx // 2, psf.ny // 2, PICTURE_SIZE_PX)
    hdus = [fits.PrimaryHDU(), table, fits.ImageHDU(centre, name="CENTRE")]
    write_fits(fits.HDUList(hdus), path, provenance)


def _grid_columns(grids: Sequence[PsfGrid]) -> list[fits.Column]:
    fluxes = [
        fits.Column(
            f"flux_{name}", "D", unit="adu", array=[getattr(g.flux_range, name) for g in grids]
        )
        for name in FluxRange._fields
    ]
    lengths = [
        fits.Column("grid_spacing", "D", unit="pix", array=[g.geometry.spacing_px for g in grids]),
        fits.Column("grid_radius", "D", unit="pix", array=[g.geometry.radius_px for g in grids]),
    ]
    return [
        *lengths,
        fits.Column("grid_degree", "J", array=[g.degree for g in grids]),
        *fluxes,
        fits.Column("grid", "PD()", array=_ragged([g.nodes.ravel() for g in grids])),
        fits.Column("grid_error", "PD()", array=_ragged([g.error.ravel() for g in grids])),
    ]


def _ragged(arrays: list[np.ndarray]) -> np.ndarray:
    out = np.empty(len(arrays), dtype=object)
    out[:] = arrays
    return out


def load_psf(path: str | Path, image: str | None = None) -> Psf:
    """The PSF of an image from a file of the rule fit_psf.

    `image` may be left out when the file holds one. Raises InputError when the file is not there
    or not a PSF, or when the image is not in it.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            table, header = hdus["PSF"].data, hdus["PSF"].header
            model_name = header["MODEL"]
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path}: not a PSF file ({error}); make it with the rule fit_psf."
        ) from None
    names = [str(name) for name in table["image"]]
    if image is None and len(names) == 1:
        image = names[0]
    if image not in names:
        raise InputError(
            f"{path}: choose the image, one of {', '.join(names) or 'none (all its fits failed)'}."
        )
    row = table[names.index(image)]
    model, grid = get_model(model_name), None
    if "FLUXTERM" in header:
        model = add_grid(model, Grid(float(row["grid_spacing"]), float(row["grid_radius"])))
        grid = _read_grid(row, tuple(header["FLUXTERM"].split()), model.grid)
    k = len(model.Shape._fields)
    coefficients = np.array(row["coefficients"], float).reshape(k, -1)
    return Psf(
        image,
        model,
        coefficients,
        np.array(row["covariance"], float).reshape(coefficients.size, coefficients.size),
        int(row["degree"]),
        int(row["nx"]),
        int(row["ny"]),
        grid,
    )


def _read_grid(row: Any, flux_terms: tuple[str, ...], grid: Grid) -> PsfGrid:
    shape = (grid.width**2, -1)
    return PsfGrid(
        np.array(row["grid"], float).reshape(shape),
        np.array(row["grid_error"], float).reshape(shape),
        int(row["grid_degree"]),
        flux_terms,
        FluxRange(*(float(row[f"flux_{name}"]) for name in FluxRange._fields)),
        grid,
    )
