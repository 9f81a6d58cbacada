"""The kernels as machine code without Numba: lowered, optimised, linked into one library.

``targets`` names the machines, ``lower`` makes one object in a process of its own, ``elf`` and
``relocations`` link them, ``build`` does it all. Nothing here is imported where kernels run.
"""
