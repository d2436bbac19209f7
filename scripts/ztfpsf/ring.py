"""The ring around the stamp of a star, where the sky of the star is measured."""

# Between the circle in the stamp and the ring, and across the ring: some 1300 pixels for a stamp of
# 25, of which a rich field leaves half.
GAP_PX, WIDTH_PX = 4, 10


def ring_radii(size_px: int) -> tuple[int, int]:
    """Inner and outer radius (px) for stamps of that size."""
    inner_px = size_px // 2 + GAP_PX
    return inner_px, inner_px + WIDTH_PX
