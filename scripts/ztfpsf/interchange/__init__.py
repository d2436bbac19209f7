"""The PSF for other programs: on a fine grid, as a file of PSFEx."""
