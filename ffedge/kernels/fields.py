"""Receptive fields: weights that lead outside a unit's window are set to zero."""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .provider import kernel


@kernel()
def clear_outside(
    weight, first, width, units, rows, columns, across, tall, wide, down, right, depth
):
    """Zero every weight from a cell of the grid to a unit whose window does not hold it.

    weight  float32 (panels, I, 16)  read, written  I >= rows * columns * depth
    first   int                      read  panel of the layer at which ``weight`` begins
    width   int                      read  units of the layer
    units   int                      read  units of one region
    rows, columns  int               read  cells of the grid; cell (y, x) is inputs
                                           (y * columns + x) * depth .. + depth - 1
    across  int                      read  regions side by side
    tall, wide     int               read  cells of a window
    down, right    int               read  cells between neighbouring windows
    depth   int                      read  inputs of a cell

    Weights of inputs behind the grid and of lanes behind the width are left alone.
    """
    for p in range(weight.shape[0]):
        for lane in range(PANEL):
            unit = (first + p) * PANEL + lane
            if unit >= width:
                break
            region = unit // units
            top, left = (region // across) * down, (region % across) * right
            for y in range(rows):
                start = y * columns * depth
                begin, end = start + left * depth, start + (left + wide) * depth
                if y < top or y >= top + tall:
                    begin = end = start + columns * depth
                for i in range(start, begin):
                    weight[p, i, lane] = np.float32(0)
                for i in range(end, start + columns * depth):
                    weight[p, i, lane] = np.float32(0)
