"""Names of the paths without vectors, those of microcontrollers."""

#: Plain 32-bit arithmetic: runs anywhere, so tests can force it.
SCALAR = "scalar"

#: The same with the DSP instructions of Cortex-M4, M7 and M33; for ``firmware.thumb`` alone.
CORTEX_M = "cortexm"
