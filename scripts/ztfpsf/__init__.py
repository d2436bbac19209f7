"""Point-spread functions of Zwicky Transient Facility (ZTF) images.

Pixel convention, used everywhere: centres are 0-based integers, x is the column, y is the row,
`array[y, x]`. Images are in ADU, gains in electron/ADU, magnitudes in AB.
"""

__version__ = "0.1.0"
