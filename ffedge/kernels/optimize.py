"""Weight updates in place: SGD, momentum and Adam, a tile of the gradient at a time.

The gradient matrix never exists: SGD adds the product straight into the weights, momentum and
Adam form one register tile of it, (PANELS, ROWS, 16) float32, and use it up at once. ``delta``
points downhill and holds the mean over the batch (a factor 1 / batch is already in it).
A bias is the weight of one input that is always 1.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .dense import add_gradient, gradient_tile
from .provider import REORDER, kernel
from .simd import PANELS, ROWS, TINY


@kernel()
def flush(value):
    """Zero for magnitudes so small that they would become denormal."""
    return value if abs(value) > TINY else np.float32(0)


@kernel(fastmath=REORDER)
def _shrink(weight, keep):
    """``weight *= keep``: weight decay. A weight that nothing else moves ends at 0."""
    for p in range(weight.shape[0]):
        for i in range(weight.shape[1]):
            for lane in range(PANEL):
                weight[p, i, lane] = flush(keep * weight[p, i, lane])


@kernel()
def sgd(x, rows, delta, index, offset, weight, keep):
    """``weight = keep * weight + x.T @ delta``, with the rate already in ``delta``.

    x       float32 (ceil(I/16), capacity, 16)  read
    delta   float32 (panels, capacity, 16)      read     downhill, times rate / batch
    index, offset  int32, int64 (I,)            written  workspace
    weight  float32 (panels, I, 16)             read, written
    keep    float32                             read     1 - rate * weight decay
    """
    if keep != np.float32(1):
        _shrink(weight, keep)
    add_gradient(x, rows, delta, index, offset, weight)


@kernel(fastmath=REORDER)
def sgd_layer(x, rows, delta, index, offset, weight, bias, keep):
    """``sgd`` on a layer's weights, and the same step of its bias, in one call.

    bias    float32 (panels, 1, 16)             read, written
    others                                      as in ``sgd``
    """
    sgd(x, rows, delta, index, offset, weight, keep)
    for p in range(bias.shape[0]):
        for lane in range(PANEL):
            total = np.float32(0)
            for r in range(rows):
                total += delta[p, r, lane]
            bias[p, 0, lane] = flush(keep * bias[p, 0, lane] + total)


@kernel(fastmath=REORDER)
def momentum(x, rows, delta, weight, velocity, tile, rate, beta, keep):
    """``velocity = beta * velocity + x.T @ delta;  weight = keep * weight + rate * velocity``

    x                 float32 (ceil(I/16), capacity, 16)  read
    delta             float32 (panels, capacity, 16)      read     downhill, times 1 / batch
    weight, velocity  float32 (panels, I, 16)             read, written
    tile              float32 (PANELS, ROWS, 16)          written  workspace
    rate, beta, keep  float32                             read     keep: 1 - rate * weight decay
    """
    inputs = weight.shape[1]
    p = 0
    while p < weight.shape[0]:
        wide = p + PANELS <= weight.shape[0]
        for i in range(0, inputs, ROWS):
            tile[:] = np.float32(0)
            gradient_tile(x, rows, delta, p, wide, i, inputs, tile, 0, ROWS * PANEL)
            for v in range(PANELS if wide else 1):
                for k in range(min(ROWS, inputs - i)):
                    for lane in range(PANEL):
                        speed = flush(beta * velocity[p + v, i + k, lane] + tile[v, k, lane])
                        velocity[p + v, i + k, lane] = speed
                        weight[p + v, i + k, lane] = flush(
                            keep * weight[p + v, i + k, lane] + rate * speed
                        )
        p += PANELS if wide else 1


@kernel(fastmath=REORDER)
def adam(x, rows, delta, weight, mean, square, tile, rate, beta1, beta2, epsilon, keep):
    """Adam (Kingma and Ba 2015, algorithm 1) with decoupled weight decay.

    ``mean = beta1 * mean + (1 - beta1) * g;  square = beta2 * square + (1 - beta2) * g**2;``
    ``weight = keep * weight + rate * mean / (sqrt(square) + epsilon)`` with g = x.T @ delta.

    x                     float32 (ceil(I/16), capacity, 16)  read
    delta                 float32 (panels, capacity, 16)      read     downhill, times 1 / batch
    weight, mean, square  float32 (panels, I, 16)             read, written
    tile                  float32 (PANELS, ROWS, 16)          written  workspace
    rate, epsilon         float32                             read     bias correction included
    beta1, beta2, keep    float32                             read
    """
    inputs = weight.shape[1]
    one = np.float32(1)
    p = 0
    while p < weight.shape[0]:
        wide = p + PANELS <= weight.shape[0]
        for i in range(0, inputs, ROWS):
            tile[:] = np.float32(0)
            gradient_tile(x, rows, delta, p, wide, i, inputs, tile, 0, ROWS * PANEL)
            for v in range(PANELS if wide else 1):
                for k in range(min(ROWS, inputs - i)):
                    for lane in range(PANEL):
                        g = tile[v, k, lane]
                        m = flush(beta1 * mean[p + v, i + k, lane] + (one - beta1) * g)
                        s = flush(beta2 * square[p + v, i + k, lane] + (one - beta2) * g * g)
                        mean[p + v, i + k, lane] = m
                        square[p + v, i + k, lane] = s
                        weight[p + v, i + k, lane] = flush(
                            keep * weight[p + v, i + k, lane] + rate * m / (np.sqrt(s) + epsilon)
                        )
        p += PANELS if wide else 1
