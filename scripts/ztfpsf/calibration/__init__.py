"""Raw ZTF CCD frames to science images.

Arrays stay in the order in which ZTF stores them (+x to the west, +y to the south), from the raw
file to the product; `orientation` knows the other two orders.
"""
