"""The fixed text of the C files."""

from __future__ import annotations

HEADER = """\
/* A network that learns on this device: {title}.
 *
 * Made by ffedge; link libffedge.a and compile ffedge_model.c with
 *     {flags}
 * The functions allocate nothing, keep nothing and call nothing but ff_flash_erase and
 * ff_flash_program, and those from ff_save only. Whatever changes lies in one block of memory
 * that is yours:
 *
 *     static uint64_t memory[FF_MEMORY_BYTES / 8u];
 *     ff_reset(memory);                        the first weights
 *     ff_load(memory, checkpoint);             or those that were saved, if there are any
 *     ff_train_step(memory, sample, label);    as often as there are samples
 *     class = ff_predict(memory, sample);
 *     ff_save(memory, checkpoint);
 *
 * A block is used by one function at a time. Several blocks are several networks.
 */
#ifndef FFEDGE_MODEL_H
#define FFEDGE_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{defines}

/* What the functions return, if not 0. */
#define FF_EMPTY 1         /* ff_load: nothing was ever saved */
#define FF_DAMAGED 2       /* ff_load: no whole checkpoint */
#define FF_FOREIGN 3       /* ff_load: a checkpoint of another model */
#define FF_NOT_WRITTEN 4   /* ff_save: the flash does not hold what was programmed */
#define FF_FLASH_REFUSED 5 /* ff_save: ff_flash_erase or ff_flash_program returned an error */
#define FF_BAD_ARGUMENT (-1)

/* Names of the classes, UTF-8. */
extern const char *const ff_class_names[FF_CLASSES];

/* Parameters in the memory: byte offset and bytes of each, for a checksum of one's own. */
extern const int32_t ff_ranges[2u * FF_RANGES];

/* Begin anew: the first weights, no updates made, the full learning rates. */
void ff_reset(void *memory);

/* Learn from one sample (FF_FEATURES numbers) of class label.
 * Returns 1 if the decision before was right, 0 if not, or FF_BAD_ARGUMENT for another label.
 */
int32_t ff_train_step(void *memory, const float *sample, int32_t label);

/* The class of a sample, 0..FF_CLASSES-1. The memory's parameters stay as they are. */
int32_t ff_predict(void *memory, const float *sample);

/* Learning rate of a layer from now on: mantissa * 2**-exponent, mantissa 16384..32768, or 0 for
 * none. Returns 0, or FF_BAD_ARGUMENT for another layer or mantissa.
 */
int32_t ff_set_rate(void *memory, int32_t layer, int32_t mantissa, int32_t exponent);

/* Keep parameters and update counters in flash. A power cut at any moment leaves the checkpoint
 * of before or the new one. checkpoint: where FF_CHECKPOINT_BYTES of flash, from the start of a
 * page, can be read. Returns 0, FF_NOT_WRITTEN or FF_FLASH_REFUSED.
 */
int32_t ff_save(const void *memory, const void *checkpoint);

/* Bring back what was saved last. Returns 0; or FF_EMPTY, FF_DAMAGED or FF_FOREIGN: then call
 * ff_reset, unless nothing was trained since.
 */
int32_t ff_load(void *memory, const void *checkpoint);

/* Yours, only if ff_save is called: erase the FF_PAGE_BYTES at address; all bits become 1.
 * Returns 0 when that is done, or else anything.
 */
int32_t ff_flash_erase(uint32_t address);

/* Yours, only if ff_save is called: program FF_WORD_BYTES at address, which were erased: low, and
 * on 8-byte words high behind it. Returns 0 when that is done, or else anything.
 */
int32_t ff_flash_program(uint32_t address, uint32_t low, uint32_t high);

#ifdef __cplusplus
}}
#endif

#endif
"""

SOURCE = """\
/* The model of ffedge_model.h: tables, scaler and first weights. Made by ffedge. */
#include "ffedge_model.h"

extern const int32_t ff_table[];
extern const float ff_scaler[];
extern const int32_t ff_fills[];
extern const uint32_t ff_initial[];
extern const int32_t ff_first_rates[];
extern const uint32_t ff_layout[];

"""

SELFTEST = """\
/* What the device must come to. Made by ffedge, whose own training gave these numbers. */
#ifndef FFEDGE_SELFTEST_H
#define FFEDGE_SELFTEST_H

#include "ffedge_model.h"

#define FF_SELFTEST_SAMPLES {count}
#define FF_SELFTEST_PASSES {passes}
/* CRC-32 of all parameters after training. */
#define FF_SELFTEST_CRC {crc}u

{arrays}
/* CRC-32 (zip's) of the parameters in the memory. */
static inline uint32_t ff_selftest_crc(const void *memory)
{{
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t row = 0u; row < FF_RANGES; row++) {{
        const uint8_t *bytes = (const uint8_t *)memory + ff_ranges[2u * row];
        for (int32_t i = 0; i < ff_ranges[2u * row + 1u]; i++) {{
            crc ^= bytes[i];
            for (int bit = 0; bit < 8; bit++) {{
                crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
            }}
        }}
    }}
    return ~crc;
}}

/* Number of the first check that failed, or 0: 1 a class before training, 2 the parameters
 * after it, 3 a class after it. Begins with ff_reset, and leaves the memory trained.
 */
static inline int ff_selftest(void *memory)
{{
    ff_reset(memory);
    for (int i = 0; i < FF_SELFTEST_SAMPLES; i++) {{
        const float *sample = ff_selftest_samples + (uint32_t)i * FF_FEATURES;
        if (ff_predict(memory, sample) != ff_selftest_before[i]) {{
            return 1;
        }}
    }}
    for (int pass = 0; pass < FF_SELFTEST_PASSES; pass++) {{
        for (int i = 0; i < FF_SELFTEST_SAMPLES; i++) {{
            const float *sample = ff_selftest_samples + (uint32_t)i * FF_FEATURES;
            (void)ff_train_step(memory, sample, ff_selftest_labels[i]);
        }}
    }}
    if (ff_selftest_crc(memory) != FF_SELFTEST_CRC) {{
        return 2;
    }}
    for (int i = 0; i < FF_SELFTEST_SAMPLES; i++) {{
        const float *sample = ff_selftest_samples + (uint32_t)i * FF_FEATURES;
        if (ff_predict(memory, sample) != ff_selftest_after[i]) {{
            return 3;
        }}
    }}
    return 0;
}}

#endif
"""
