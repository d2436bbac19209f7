"""How much charge the pocket of a quadrant keeps, and what that does to the rows of an image.

Row by row, pixel by pixel in read order, the register adds what the pocket holds, and the pocket
keeps a part of the sum:

    t = n + q,    q <- L(t),    observed = t - L(t)

with n the light of a pixel and q = 0 at the start of a row; all in ADU, sky included. No charge is
lost. L(0) = 0, and its slope falls from less than 1 to 0, linearly between KNOTS_ADU: L is monotone
and concave, and beyond the last knot the pocket is full. With slopes s_k at the knots,

    L(t) = sum_k (s_k - s_(k+1)) B_k(t),    B_k(t) = min(t, t_k) + u - u^2 / (2 h_k),
    u = clip(t - t_k, 0, h_k),    h_k = t_(k+1) - t_k.

The register holds charge as it comes, before the flat: where the flat of an image is f, n becomes
f n, and what is observed is divided by f.

Functions of a single pixel work on arrays of NumPy and of JAX alike.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.pocket.flat import NO_FLAT, draw_flat

Plane = TypeVar("Plane", np.ndarray, Array)

# Dense where the sky fills the pocket of ZTF, which holds at most some 350 ADU.
KNOTS_ADU = np.array(
    [0.0, 60.0, 120.0, 180.0, 250.0, 330.0, 430.0, 560.0, 750.0, 1050.0, 1600.0, 2600.0]
)
WIDTHS_ADU = np.diff(KNOTS_ADU)
N_DROPS = len(WIDTHS_ADU)
# Plain numbers leave planes of single precision as they are.
_INTERVALS = [(float(k), float(w)) for k, w in zip(KNOTS_ADU[:-1], WIDTHS_ADU, strict=True)]


class LocalPocket(NamedTuple):
    """The law at a place, and where its rows begin."""

    drops: Any  # (..., N_DROPS) s_k - s_(k+1), none negative, of sum less than 1
    flat: Any  # (...) of the pixels, 1 on the average of the quadrant
    direction: Any  # in which stored columns are read: 1, or -1 where the last one comes first


class Pocket(NamedTuple):
    """The law of a quadrant, or of many, in an image."""

    drops: Any  # (..., N_DROPS)
    flat: Any  # (..., 6) of the image, see ztfpsf.pocket.flat
    direction: Any  # (...)

    def at(self, x_px: Any, y_px: Any, nx: Any, ny: Any) -> LocalPocket:
        """The law at positions (...) in quadrants of nx x ny px."""
        flat = draw_flat(self.flat, x_px, y_px, nx, ny)
        drops = np.broadcast_to(self.drops, (*flat.shape, N_DROPS))
        return LocalPocket(drops, flat, np.broadcast_to(self.direction, flat.shape))


NO_POCKET = Pocket(np.zeros(N_DROPS), NO_FLAT, np.ones(()))


SETTLING_PX = 12  # of a row all alike, until the pocket holds what it does in a long one
STEPS_PER_ADU = 8


def capacity_adu(drops: np.ndarray) -> np.ndarray:
    """What the pocket holds when it is full, ADU."""
    return drops @ (0.5 * (KNOTS_ADU[:-1] + KNOTS_ADU[1:]))


def basis(charge_adu: np.ndarray) -> np.ndarray:
    """B_k of charges (...) in ADU, (..., N_DROPS)."""
    t = np.maximum(charge_adu, 0.0)[..., None]
    return share(t, KNOTS_ADU[:-1], WIDTHS_ADU)


def share(charge_adu: Any, knot_adu: Any, width_adu: Any) -> Any:
    """B_k of charges that are not negative, ADU, for the knot k and the width of its interval."""
    u = (charge_adu - knot_adu).clip(0.0, width_adu)
    return charge_adu.clip(None, knot_adu) + u - 0.5 * u * u / width_adu


def keep(drops: Any, charge_adu: Plane) -> Plane:
    """L(t) of charges (...), ADU. `drops`: (N_DROPS,)."""
    t = charge_adu.clip(0.0)
    kept = 0.0 * t
    for k, (knot, width) in enumerate(_INTERVALS):
        kept = kept + drops[k] * share(t, knot, width)
    return kept


def slope(drops: Any, charge_adu: Plane) -> Plane:
    """dL/dt."""
    lost = 0.0 * charge_adu
    for k, (knot, width) in enumerate(_INTERVALS):
        lost = lost + drops[k] * ((charge_adu - knot) / width).clip(0.0, 1.0)
    return drops.sum() - lost


def fill(drops: np.ndarray, observed_adu: np.ndarray) -> np.ndarray:
    """The charge t with t - L(t) = observed, any shape, ADU. Exact: a quadratic for each interval.

    In a row that is all alike, observed = n, and L(t) is what the pocket holds.
    """
    observed = np.asarray(observed_adu, float)
    at_knots = KNOTS_ADU - keep(drops, KNOTS_ADU)
    k = np.clip(np.searchsorted(at_knots, observed, side="right") - 1, 0, N_DROPS)
    given = 1.0 - slope(drops, KNOTS_ADU)[k]
    bend = 0.5 * np.append(drops / WIDTHS_ADU, 0.0)[k]
    rest = observed - at_knots[k]
    root = np.sqrt(np.maximum(given**2 + 4.0 * bend * rest, 0.0))
    return np.where(observed > 0, KNOTS_ADU[k] + 2.0 * rest / (given + root), observed)


def forward(drops: np.ndarray, light_adu: np.ndarray, held_adu: np.ndarray | float) -> np.ndarray:
    """Observed rows (..., n) of rows of light in read order, ADU.

    `held_adu`: (...) in the pocket before the first of these pixels; 0 at the start of a row.
    """
    observed, held = np.empty_like(light_adu), held_adu
    for i in range(light_adu.shape[-1]):
        total = light_adu[..., i] + held
        held = keep(drops, total)
        observed[..., i] = total - held
    return observed


def invert(drops: np.ndarray, observed_adu: np.ndarray, held_adu: np.ndarray | float) -> np.ndarray:
    """The inverse of `forward`, exact and in one pass. Noise grows: see docs/pocket.md."""
    light, held = np.empty_like(observed_adu), held_adu
    for i in range(observed_adu.shape[-1]):
        total = fill(drops, observed_adu[..., i])
        light[..., i] = total - held
        held = keep(drops, total)
    return light


@jax.jit
def deferred(pocket: LocalPocket, light_adu: Array) -> Array:
    """What the pocket changes in rows (..., n) of light in stored order: observed - light, ADU.

    Before the first pixel the pocket holds what it would in a long row of such pixels. It forgets:
    some 0.2 of it is left after each pixel of a dark sky.
    """
    charge = pocket.flat * light_adu
    rows = jnp.where(pocket.direction < 0, charge[..., ::-1], charge)
    columns = jnp.moveaxis(rows, -1, 0)

    def read(held: Array, light: Array) -> tuple[Array, Array]:
        kept = keep(pocket.drops, light + held)
        return kept, held - kept

    # As long a row as it takes to forget.
    empty = jnp.zeros(columns.shape[1:], columns.dtype)
    held = jax.lax.fori_loop(0, SETTLING_PX, lambda _, held: read(held, columns[0])[0], empty)
    _, change = jax.lax.scan(read, held, columns)
    change = jnp.moveaxis(change, 0, -1)
    return jnp.where(pocket.direction < 0, change[..., ::-1], change) / pocket.flat


def defer_plane(pocket: LocalPocket, light_adu: np.ndarray) -> np.ndarray:
    """`deferred` of a large plane of light (ny, nx), float32; the flat is that of its columns.

    L is looked up in a table of STEPS_PER_ADU, which is right to 0.01 ADU where a sky fills the
    pocket, and several times as fast.
    """
    table = keep(pocket.drops, np.arange(KNOTS_ADU[-1] * STEPS_PER_ADU + 1) / STEPS_PER_ADU)
    # Charges in steps of the table, half a step added: their integer part is the place in it.
    scale = (STEPS_PER_ADU * np.broadcast_to(pocket.flat, light_adu.shape[1:])).astype(np.float32)
    scale, table = scale[:, None], (table * STEPS_PER_ADU).astype(np.float32)
    change = np.array(light_adu.T, np.float32, order="C")
    change *= scale
    change += np.float32(0.5)

    def look_up(charge: np.ndarray) -> np.ndarray:
        return table.take(charge.astype(np.int32), mode="clip")

    columns = change[::-1] if np.all(pocket.direction < 0) else change
    held = np.zeros(change.shape[1], np.float32)
    for _ in range(SETTLING_PX):
        held = look_up(columns[0] + held)
    for column in columns:
        column += held
        kept = look_up(column)
        np.subtract(held, kept, out=column)
        held = kept
    change /= scale
    return change.T
