"""Cosmic rays: straight tracks, one pixel wide."""

import numpy as np
import pandas as pd

# ASSUME: exponential lengths of mean 6 px, 80 e-/um in pixels of 15 um, deposits vary by 30 %.
MEAN_LENGTH_PX = 6.0
ELECTRONS_PER_PX = 1200.0
SPREAD = 0.3


def make_tracks(random: np.random.Generator, n: int, nx: int, ny: int) -> pd.DataFrame:
    """Truth table of n tracks: start x_px, y_px; angle_deg, length_px, electrons_per_px."""
    return pd.DataFrame(
        {
            "x_px": random.uniform(-0.5, nx - 0.5, n),
            "y_px": random.uniform(-0.5, ny - 0.5, n),
            "angle_deg": random.uniform(0, 360, n),
            "length_px": 1 + random.exponential(MEAN_LENGTH_PX, n),
            "electrons_per_px": ELECTRONS_PER_PX * random.lognormal(0, SPREAD, n),
        }
    )


def add_tracks(electrons: np.ndarray, tracks: pd.DataFrame) -> np.ndarray:
    """Add tracks in place; returns where they are, bool of the image's shape."""
    ny, nx = electrons.shape
    touched = np.zeros((ny, nx), dtype=bool)
    for track in tracks.itertuples():
        steps = np.arange(0, track.length_px, 0.25)
        angle = np.radians(track.angle_deg)
        x = np.floor(track.x_px + steps * np.cos(angle) + 0.5).astype(int)
        y = np.floor(track.y_px + steps * np.sin(angle) + 0.5).astype(int)
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        np.add.at(electrons, (y[inside], x[inside]), 0.25 * track.electrons_per_px)
        touched[y[inside], x[inside]] = True
    return touched
