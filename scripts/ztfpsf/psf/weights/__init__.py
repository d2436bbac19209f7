"""What is found before the fit: start values, weights, rejections, the precision of a grid."""
