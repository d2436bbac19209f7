"""Fits of one unit side by side: table of parameters, speed, summary."""
