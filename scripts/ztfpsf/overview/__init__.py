"""A run as a whole: one row per image, per fit and per product, from the tables of the rules."""
