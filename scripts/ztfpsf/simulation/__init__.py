"""Simulated ZTF frames with known truth.

`scene` makes one science quadrant (no raw effects), `night` a tree of raw CCD frames. Nothing here
is imported by the code it tests, and nothing of that code is imported here.
Pixel convention: 0-based, centre of the first pixel at (0, 0), x = column, y = row, stored order.
"""
