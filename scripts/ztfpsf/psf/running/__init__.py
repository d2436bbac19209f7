"""Many images on the devices there are."""
