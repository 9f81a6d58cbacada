"""Length normalisation of u7 rows: exact integer in, one rounding of a defined float path, u7 out.

``x_hat = min(floor(y * (gain / sqrt(sum y**2)) + 0.5), 127)`` with gain = 2**INPUT_EXP * sqrt(N)
as float32. The sum is an exact int32 (127 * 127 * 131,071 < 2**31), its conversion to float32,
the square root, the division, the product and the sum with 0.5 are each correctly rounded (IEEE
754), and nothing may be fused: the same bits in every ONNX runtime and on every FPU.
"""

from __future__ import annotations

import numpy as np

from ..provider import kernel


@kernel()
def sum_of_squares(y, rows, out):
    """``out[r] = sum over units of y[r]**2``

    y    uint8 (capacity, Y)  read     0..127, zero beyond the width
    out  int32 (capacity,)    written
    """
    for r in range(rows):
        total = np.int32(0)
        for j in range(y.shape[1]):
            value = np.int32(y[r, j])
            total = np.int32(total + value * value)
        out[r] = total


@kernel()
def normalize_rows(y, rows, gain, length):
    """Normalise rows in place; a silent row stays silent.

    y       uint8 (capacity, Y)  read, written  out: unit 2**-INPUT_EXP
    gain    float32              read           2**INPUT_EXP * sqrt(width)
    length  int32 (capacity,)    written        sum of squares before

    Returns the total of ``length`` (int).
    """
    sum_of_squares(y, rows, length)
    total = 0
    for r in range(rows):
        total += np.int64(length[r])
        factor = gain / np.sqrt(np.float32(max(length[r], np.int32(1))))
        for j in range(y.shape[1]):
            # The conversion rounds down by itself.
            value = np.float32(y[r, j]) * factor + np.float32(0.5)
            y[r, j] = np.uint8(min(value, np.float32(127)))
    return total
