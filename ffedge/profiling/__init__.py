"""Where the bytes of a training went: measured, and drawn as a page."""
