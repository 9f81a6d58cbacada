"""One product with the data for all labels: the first layer's sums from what is shared.

A label of one in C inputs, set to a row's scale s, adds one row of the weight to the product, and
every label gives the input the same length; see ``ffedge.reading.sharing``.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .normalize import EPSILON
from .provider import kernel


@kernel()
def neutral_row(weight, begin, classes, out):
    """``out = mean of weight[begin : begin + classes]``: the neutral label's row.

    weight  float32 (panels, I, 16)  read
    out     float32 (panels, 1, 16)  written
    """
    for p in range(out.shape[0]):
        for lane in range(PANEL):
            total = np.float32(0)
            for c in range(classes):
                total += weight[p, begin + c, lane]
            out[p, 0, lane] = total / np.float32(classes)


@kernel()
def labelled_sums(
    product, rows, weight, begin, labels, scales, squares, spread, inputs, bias, out
):  # fmt: skip
    """``out = (product + s * weight[begin + label]) / length + bias``

    product  float32 (panels, capacity, 16)  read     data without label, times the weight
    weight   float32 (panels, I, 16)         read
    labels   int32 (at least rows,)          read
    scales   float32 (capacity,)             read     s of each row
    squares  float32 (capacity,)             read     sum of squares of the data without label
    spread   float32                         read     1, or for the neutral label 1 / C
    bias     float32 (panels, 1, 16)         read
    out      float32 (panels, capacity, 16)  written

    ``length = EPSILON + sqrt((squares + spread * s**2) / inputs)``, as ``normalize`` has it.
    """
    for r in range(rows):
        scale = scales[r]
        whole = squares[r] + spread * scale * scale
        factor = np.float32(1) / (EPSILON + np.sqrt(whole / np.float32(inputs)))
        row = begin + labels[r]
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                total = product[p, r, lane] + scale * weight[p, row, lane]
                out[p, r, lane] = total * factor + bias[p, 0, lane]
