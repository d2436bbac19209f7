"""PSF photometry: flux and position of every catalogue star of an image, with a PSF that is given.

Every star has a stamp of a few PSF widths. In it, the star's flux, position and a constant
background are fitted to the image minus the models of all other stars, for all stars at once:

    sum over stamp i of  w c_i (data - sky - sum_j flux_j P(pixel - position_j) - background_i) = 0

with c_i the derivative of the model by each unknown of star i and w = 1 / variance of the model.
The equations are solved by Gauss-Newton. Stars closer than the reach of the PSF meet in a sparse
normal matrix that is factorised as a whole (`normal`): a blend is solved exactly, and a crowded
field where all stars hang together is no special case, it only fills the factors. Fainter overlaps
come in through the residuals, from pass to pass. Three other ways were weighed:

- Groups of overlapping stars, each solved alone: they percolate when the field is crowded.
- Stars one by one with their neighbours subtracted: needs many passes for a close pair, and its
  errors know nothing of the neighbour. Here they are the inverse of the normal matrix of the
  friends of friends; only for errors large groups are taken apart (`groups`).
- Conjugate gradients on the pixels: 400 iterations where the factors take 0.05 s.

Choices, measured with stars put into a real ZTF image (1000 ADU of flux are a signal-to-noise
ratio of 45):

- Background: a constant per stamp is without bias (0.02 sigma) and costs 2 % of the error; a sky
  map leaves 0.16 sigma with cells of 200 px, 0.06 with cells of 64 px, and more scatter.
- Position: free only above a signal-to-noise ratio, for a free position follows the noise and
  makes the flux too large by about its error divided by that ratio. Fainter stars stand where the
  catalogue has them, moved by the median shift of the others.
- Bright stars are drawn on a larger window, as far as their light is seen, but fitted in the same
  stamp: far wings are where a PSF is least known.

The error of the PSF itself, common to all stars, is not part of the errors.
"""
