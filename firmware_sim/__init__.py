"""Boards to try the firmware on: flash that wears and tears, power that fails, emulated cores."""
