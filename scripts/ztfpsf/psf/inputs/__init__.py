"""What goes into a fit."""
