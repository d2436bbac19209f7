"""ZTF's dome screen."""

# LEDs that light the screen for a filter (ILUM_LED).
LEDS = {"zg": (2, 3, 4, 5), "zr": (7, 8, 9, 10), "zi": (11, 12, 13)}
