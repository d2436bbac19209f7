"""PSF photometry: flux and position of every catalogue star of an image, with a PSF that is given.

Every star has a stamp. In it, the star's flux, position and a constant background are fitted to the
image minus the models of all other stars, for all stars at once:

    sum over stamp i of  w c_i (data - sky - sum_j flux_j P(pixel - position_j) - background_i) = 0

with c_i the derivatives of the model by the unknowns of star i, and w = 1 / variance of the model.
In the order of the work (`image`): pixels and places of the stars (`planes`), who meets whom
(`groups`), and passes of Gauss-Newton (`fit`): all stars are drawn (`drawing`) and subtracted
(`light`), what is left gives the equations (`equations`), their solution (`solution`) moves the
stars. Then fluxes, errors and flags (`tables`).

- Stars closer than the reach of the PSF form groups, friends of friends, and a group is solved as
  one system. Its inverse gives the errors, marginalised over the neighbours. Fainter overlaps come
  in through what is left, from pass to pass.
- In a crowded field all stars hang together. Such a group is cut in parts, which then only start
  GMRES, the exact solution on the pixels. One sparse matrix of all close pairs diverged at one
  star in 6 px^2: what it leaves out adds up.

Choices, and what they cost, measured with stars put into a real ZTF image:

- Background: a constant per stamp has no bias (0.05 sigma or less at signal-to-noise ratios of 3
  to 60), a map of the sky with cells of 200 px has -0.15 sigma and 4 to 10 % more scatter, for
  reflections and faint sources are smaller than its cells. The constant makes the errors of faint
  stars 2 % larger at a FWHM of 1.5 px, 4 % at 2 px, 9 % at 3 px, in a stamp of 15 px.
- Position: fitted only above a signal-to-noise ratio. A free position follows the noise, and
  makes the flux too large by about its error divided by that ratio. Fainter stars stand where the
  catalogue has them, moved by the median shift of the others.
- Bright stars are drawn as far as their light is seen, but fitted in the same stamp: the far wings
  are where a PSF is known least.

Errors: noise, as measured on the image (ztfpsf.psf.weights.pixel_noise), marginalised over
neighbours; the PSF's error where a star falls in its pixel, independent from star to star; and, in
a column of its own, what the error of the PSF does to the fluxes of all stars of the image alike.
"""
