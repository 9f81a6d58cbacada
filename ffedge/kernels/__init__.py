"""The one source of arithmetic: plain loops with shapes, units and an oracle each; see simd.py."""
