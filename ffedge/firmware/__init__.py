"""The int8 network as a program for a microcontroller: boards, code, linker, image, C library."""
