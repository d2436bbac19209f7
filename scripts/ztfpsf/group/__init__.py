"""A group: one quadrant of one field in one filter, in all its exposures.

Its stars are matched, mapped from the sky to the pixels of each exposure, and tell how much light
each exposure got. What is known of a target in an exposure comes from them.
"""
