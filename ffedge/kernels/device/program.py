"""What a device runs: one training step by one sample, and one prediction.

Any network of dense layers with the readout or the group rule, described by a table
(``firmware.table`` makes it): the kernels and the bits are those of the int8 run on the host,
in an arena with the offsets of a plan. Nothing is allocated and nothing is called from outside.

Table, int32, flat: a head of HEAD numbers, then ROW numbers for each layer; offsets are bytes
from the arena's start.
"""

from __future__ import annotations

import numpy as np

from ..int8.dense import forward
from ..int8.group import SCORE_EXP, group_scores
from ..int8.input import INPUT_EXP, quantize_features
from ..int8.normalize import normalize_rows
from ..int8.readout import readout_scores
from ..int8.step import add_scores, group_step, readout_step
from ..provider import kernel
from ..random import bits
from ..views import bytes_at, cube_at, matrix_at, panels_at, vector_at

# The head.
(
    LAYERS, FEATURES, PARTS, CLASSES, SQUARED, SMOOTHING, INPUT, INPUT_ROW, LENGTH, SCORES,
    TOTAL, ERRORS, LISTED,
) = range(13)  # fmt: skip
HEAD = 13

# A layer. READOUT: offset of M, or -1 with the group rule. SHIFT: of the forward product.
# SCORE_SHIFT: of the scores in the total. DELTA_EXP and READOUT_EXP are added to the rate's.
(
    INPUTS, QUADS, PANELS, WIDTH, WEIGHT, BIAS, READOUT, OUT, ROW_TERMS, INPUT_WORDS, UNIT_WORDS,
    STARTS, FACTORS, SHARES, SHIFT, SCORES_EXP, SCORE_SHIFT, DELTA_EXP, READOUT_EXP, SEED,
) = range(20)  # fmt: skip
ROW = 20

_PANEL = 16


@kernel()
def hand_on(arena, table, at, i, y):
    """Normalise layer i's activity y, uint8 (1, width), for the layer above, if there is one."""
    if i + 1 < table[LAYERS]:
        gain = np.float32(1 << INPUT_EXP) * np.sqrt(np.float32(table[at + WIDTH]))
        normalize_rows(y, 1, gain, vector_at(arena, table[LENGTH], np.int32(0), 1))


@kernel()
def take_in(arena, table, scaler, sample):
    """Write the sample as the u7 input of the first layer."""
    features = table[FEATURES]
    mean = vector_at(bytes_at(scaler, 0), 0, np.float32(0), features)
    gain = vector_at(bytes_at(scaler, 0), 4 * features, np.float32(0), features)
    x = vector_at(arena, table[INPUT], np.uint8(0), table[INPUT_ROW])
    quantize_features(sample, mean, gain, table[PARTS], x)


@kernel()
def train_readout(arena, table, scaler, rates, counters, sample, label):
    """All layers learn from one sample, by the readout rule.

    arena     uint8   (bytes,)          read, written  the device's plan
    table     int32   (HEAD + L * ROW,) read
    scaler    float32 (2 * features,)   read           mean, then gain
    rates     int32   (2 * L,)          read           mantissa and exponent of each layer
    counters  uint32  (L,)              read, written  updates made
    sample    float32 (features,)       read           raw
    label     int                       read           0..classes-1

    Returns 1 if the last layer's own decision was right before its update, else 0.
    """
    take_in(arena, table, scaler, sample)
    x = matrix_at(arena, table[INPUT], np.uint8(0), 1, table[INPUT_ROW])
    labels = vector_at(arena, table[TOTAL], np.int32(0), 1)
    classes, right = table[CLASSES], 0
    labels[0] = np.int32(label)
    for i in range(table[LAYERS]):
        at = HEAD + i * ROW
        rate_at = 2 * i
        panels, width = table[at + PANELS], table[at + PANELS] * _PANEL
        counters[i] = np.uint32(counters[i] + np.uint32(1))
        y = matrix_at(arena, table[at + OUT], np.uint8(0), 1, width)
        found = readout_step(
            x, 1, table[at + INPUTS], labels,
            panels_at(arena, table[at + WEIGHT], np.int8(0), panels, table[at + QUADS], 16, 4),
            vector_at(arena, table[at + BIAS], np.int32(0), width),
            matrix_at(arena, table[at + READOUT], np.int8(0), classes, width),
            np.int32(table[at + SHIFT]), table[at + SCORES_EXP], np.int32(table[SMOOTHING]),
            rates[rate_at], rates[rate_at + 1] + table[at + DELTA_EXP],
            rates[rate_at + 1] + table[at + READOUT_EXP],
            bits(np.uint32(table[at + SEED]), counters[i]), y,
            matrix_at(arena, table[SCORES], np.int32(0), 1, classes),
            matrix_at(arena, table[ERRORS], np.int32(0), 1, classes),
            cube_at(arena, 0, np.uint8(0), 0, 0, 4), panels_at(arena, 0, np.int8(0), 0, 0, 16, 4),
            vector_at(arena, table[at + ROW_TERMS], np.int32(0), width),
            vector_at(arena, 0, np.int32(0), 0),
            vector_at(arena, table[LISTED], np.int32(0), table[at + QUADS]),
            vector_at(arena, table[at + INPUT_WORDS], np.uint32(0), 4 * table[at + QUADS]),
            vector_at(arena, table[at + UNIT_WORDS], np.uint32(0), width),
        )  # fmt: skip
        right = found[1]
        hand_on(arena, table, at, i, y)
        x = y
    return np.int32(right)


@kernel()
def train_group(arena, table, scaler, rates, counters, sample, label):
    """All layers learn from one sample, by the group rule; see ``train_readout``."""
    take_in(arena, table, scaler, sample)
    x = matrix_at(arena, table[INPUT], np.uint8(0), 1, table[INPUT_ROW])
    labels = vector_at(arena, table[TOTAL], np.int32(0), 1)
    classes, right = table[CLASSES], 0
    labels[0] = np.int32(label)
    for i in range(table[LAYERS]):
        at = HEAD + i * ROW
        rate_at = 2 * i
        panels, width = table[at + PANELS], table[at + PANELS] * _PANEL
        counters[i] = np.uint32(counters[i] + np.uint32(1))
        y = matrix_at(arena, table[at + OUT], np.uint8(0), 1, width)
        found = group_step(
            x, 1, table[at + INPUTS], labels,
            panels_at(arena, table[at + WEIGHT], np.int8(0), panels, table[at + QUADS], 16, 4),
            vector_at(arena, table[at + BIAS], np.int32(0), width),
            np.int32(table[at + SHIFT]), SCORE_EXP, np.int32(table[SMOOTHING]),
            rates[rate_at], rates[rate_at + 1] + table[at + DELTA_EXP],
            bits(np.uint32(table[at + SEED]), counters[i]),
            vector_at(arena, table[at + STARTS], np.int32(0), classes + 1),
            table[SQUARED] != 0,
            vector_at(arena, table[at + FACTORS], np.int64(0), classes),
            vector_at(arena, table[at + SHARES], np.int32(0), classes), y,
            matrix_at(arena, table[SCORES], np.int32(0), 1, classes),
            matrix_at(arena, table[ERRORS], np.int32(0), 1, classes),
            cube_at(arena, 0, np.uint8(0), 0, 0, 4), panels_at(arena, 0, np.int8(0), 0, 0, 16, 4),
            vector_at(arena, table[at + ROW_TERMS], np.int32(0), width),
            vector_at(arena, table[LISTED], np.int32(0), table[at + QUADS]),
            vector_at(arena, table[at + INPUT_WORDS], np.uint32(0), 4 * table[at + QUADS]),
            vector_at(arena, table[at + UNIT_WORDS], np.uint32(0), width),
        )  # fmt: skip
        right = found[1]
        hand_on(arena, table, at, i, y)
        x = y
    return np.int32(right)


@kernel()
def run_layer(arena, table, at, x, y):
    """The activity y of the layer at ``table[at]``, uint8 (1, width), on x."""
    panels = table[at + PANELS]
    forward(
        x, 1, panels_at(arena, table[at + WEIGHT], np.int8(0), panels, table[at + QUADS], 16, 4),
        vector_at(arena, table[at + BIAS], np.int32(0), panels * _PANEL),
        np.int32(table[at + SHIFT]),
        vector_at(arena, table[LISTED], np.int32(0), table[at + QUADS]), y,
    )  # fmt: skip


@kernel()
def decide(arena, table, at, i, y):
    """Add layer i's scores to the total (int32 (1, C)), hand its activity on; the best class."""
    classes = table[CLASSES]
    scores = matrix_at(arena, table[SCORES], np.int32(0), 1, classes)
    total = matrix_at(arena, table[TOTAL], np.int32(0), 1, classes)
    if i == 0:
        for c in range(classes):
            total[0, c] = np.int32(0)
    add_scores(scores, 1, table[at + SCORE_SHIFT], total)
    hand_on(arena, table, at, i, y)
    best = 0
    for c in range(1, classes):
        if total[0, c] > total[0, best]:
            best = c
    return best


@kernel()
def predict_readout(arena, table, scaler, sample):
    """The class (int) whose total score is largest, the lowest of equals; as ``train_readout``."""
    take_in(arena, table, scaler, sample)
    x = matrix_at(arena, table[INPUT], np.uint8(0), 1, table[INPUT_ROW])
    best = 0
    for i in range(table[LAYERS]):
        at = HEAD + i * ROW
        y = matrix_at(arena, table[at + OUT], np.uint8(0), 1, table[at + PANELS] * _PANEL)
        run_layer(arena, table, at, x, y)
        M = matrix_at(
            arena, table[at + READOUT], np.int8(0), table[CLASSES], table[at + PANELS] * _PANEL
        )
        readout_scores(y, 1, M, matrix_at(arena, table[SCORES], np.int32(0), 1, table[CLASSES]))
        best = decide(arena, table, at, i, y)
        x = y
    return np.int32(best)


@kernel()
def predict_group(arena, table, scaler, sample):
    """``predict_readout`` for the group rule."""
    take_in(arena, table, scaler, sample)
    x = matrix_at(arena, table[INPUT], np.uint8(0), 1, table[INPUT_ROW])
    best, classes = 0, table[CLASSES]
    for i in range(table[LAYERS]):
        at = HEAD + i * ROW
        y = matrix_at(arena, table[at + OUT], np.uint8(0), 1, table[at + PANELS] * _PANEL)
        run_layer(arena, table, at, x, y)
        group_scores(
            y, 1, vector_at(arena, table[at + STARTS], np.int32(0), classes + 1),
            table[SQUARED] != 0,
            vector_at(arena, table[at + FACTORS], np.int64(0), classes),
            matrix_at(arena, table[SCORES], np.int32(0), 1, classes),
        )  # fmt: skip
        best = decide(arena, table, at, i, y)
        x = y
    return np.int32(best)
