"""Boards: where flash and RAM lie, how flash is erased, what a clock cycle costs.

Every figure has its document in ``sources``, or its name is in ``estimates``: then it stands for
the family and may be off by a factor of two. Nothing here was measured on silicon.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from .cores import CORES, Core

_KIB = 1024
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Board:
    """A microcontroller, as the linker, the checkpoint and the energy estimate need it.

    flash_address, flash_bytes: from the vector table to the end of flash; what a boot loader
    takes in front of it is left out. ram_address, ram_bytes: the one contiguous region that is
    used; ``ram_note`` says what it is made of and what is left alone.
    page_bytes: the erase unit at the end of flash, where the checkpoint lies; ``flash_bytes``
    ends on a multiple of it. word_bytes: the least that is programmed at once, 4 or 8.
    endurance: erase cycles of a page. erase_seconds: of a page. program_seconds: of a word.
    ua_per_mhz: microampere per megahertz of core clock while it runs from flash, without
    peripherals. volts: at which that was given.
    """

    name: str
    title: str
    core: Core
    clock_hz: int
    flash_address: int
    flash_bytes: int
    ram_address: int
    ram_bytes: int
    ram_note: str
    page_bytes: int
    word_bytes: int
    endurance: int
    erase_seconds: float
    program_seconds: float
    ua_per_mhz: float
    volts: float
    sources: tuple[str, ...]
    estimates: tuple[str, ...] = ()

    @property
    def flash_end(self) -> int:
        """First address behind flash."""
        return self.flash_address + self.flash_bytes

    @property
    def ram_end(self) -> int:
        """First address behind the RAM that is used."""
        return self.ram_address + self.ram_bytes


_M0PLUS, _M4F, _M7, _M33 = (CORES[name] for name in ("m0plus", "m4f", "m7", "m33"))

_NRF52 = (
    "nRF52840 Product Specification (4413_417): memory map; NVMC electrical specification; "
    "CPU running CoreMark from flash with cache, DC/DC at 3 V: 52 uA/MHz",
)
_W25Q16 = "W25Q16JV datasheet: 4 KiB sector erase 45 ms typical, 100,000 cycles"
_FLASH_TIMES = ("erase_seconds", "program_seconds")

BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board(
            "nrf52840", "Nordic nRF52840 (nRF52840 DK)", _M4F, 64_000_000,
            0x0000_0000, _MIB, 0x2000_0000, 256 * _KIB, "all of the RAM",
            4 * _KIB, 4, 10_000, 85e-3, 41e-6, 52.0, 3.0, _NRF52,
        ),
        Board(
            "nano33ble", "Arduino Nano 33 BLE (nRF52840 behind its boot loader)", _M4F, 64_000_000,
            0x0001_0000, _MIB - 64 * _KIB, 0x2000_0000, 256 * _KIB, "all of the RAM",
            4 * _KIB, 4, 10_000, 85e-3, 41e-6, 52.0, 3.3,
            (*_NRF52, "Arduino mbed core, nano33ble: sketches start at 0x10000"),
            ("ua_per_mhz",),
        ),
        Board(
            "nrf5340", "Nordic nRF5340 (application core)", _M33, 128_000_000,
            0x0000_0000, _MIB, 0x2000_0000, 512 * _KIB, "all of the application core's RAM",
            4 * _KIB, 4, 10_000, 87.5e-3, 43e-6, 61.0, 3.0,
            ("nRF5340 Product Specification (4418_1315): memory map, clock, 4 KiB pages; "
             "514 CoreMark at 128 MHz and 66 CoreMark/mA make 61 uA/MHz",),
            _FLASH_TIMES,
        ),
        Board(
            "stm32l4", "STM32L4R5ZI (Nucleo-L4R5ZI)", _M4F, 120_000_000,
            0x0800_0000, 2 * _MIB, 0x2000_0000, 640 * _KIB,
            "SRAM1 192 KiB, SRAM2 64 KiB in its second place at 0x20030000, SRAM3 384 KiB",
            4 * _KIB, 8, 10_000, 22e-3, 82e-6, 110.0, 3.0,
            ("DS12023: memories; 110 uA/MHz in run mode by the LDO", "RM0432: memory map, "
             "4 KiB pages in dual-bank mode, 64-bit double words"),
            _FLASH_TIMES,
        ),
        Board(
            "stm32l476", "STM32L476RG (Nucleo-L476RG)", _M4F, 80_000_000,
            0x0800_0000, _MIB, 0x2000_0000, 96 * _KIB,
            "SRAM1; SRAM2 (32 KiB at 0x10000000) does not adjoin it and is left alone",
            2 * _KIB, 8, 10_000, 22e-3, 82e-6, 100.0, 3.0,
            ("DS10198: memories; 100 uA/MHz in run mode by the LDO; 64-bit programming 82 us, "
             "page erase 22 ms, 10,000 cycles", "RM0351: memory map, 2 KiB pages"),
        ),
        Board(
            "stm32f411", "STM32F411RE (Nucleo-F411RE)", _M4F, 100_000_000,
            0x0800_0000, 512 * _KIB, 0x2000_0000, 128 * _KIB, "all of the SRAM",
            128 * _KIB, 4, 10_000, 1.0, 16e-6, 100.0, 3.3,
            ("DS10314: memories; 100 uA/MHz in run mode, peripherals off; word programming "
             "16 us, 10,000 cycles", "RM0383: sectors of 16 KiB (4), 64 KiB, 128 KiB (3)"),
            ("erase_seconds",),
        ),
        Board(
            "stm32f746", "STM32F746 (Nucleo-F746ZG, Discovery)", _M7, 216_000_000,
            0x0800_0000, _MIB, 0x2000_0000, 320 * _KIB,
            "DTCM 64 KiB, SRAM1 240 KiB and SRAM2 16 KiB, which adjoin; ITCM is left alone",
            256 * _KIB, 4, 10_000, 2.0, 16e-6, 470.0, 3.3,
            ("DS10916: memories; word programming 16 us, 10,000 cycles",
             "RM0385: memory map; sectors of 32 KiB (4), 128 KiB, 256 KiB (3)"),
            ("erase_seconds", "ua_per_mhz"),
        ),
        Board(
            "stm32f767", "STM32F767ZI (Nucleo-F767ZI)", _M7, 216_000_000,
            0x0800_0000, 2 * _MIB, 0x2000_0000, 512 * _KIB,
            "DTCM 128 KiB, SRAM1 368 KiB and SRAM2 16 KiB, which adjoin; ITCM is left alone",
            256 * _KIB, 4, 10_000, 2.0, 16e-6, 470.0, 3.3,
            ("DS11532: memories; word programming 16 us, 10,000 cycles",
             "RM0410: memory map; single bank, sectors of 32 KiB (4), 128 KiB, 256 KiB (7)"),
            ("erase_seconds", "ua_per_mhz"),
        ),
        Board(
            "rp2040", "Raspberry Pi Pico (RP2040, 2 MiB of QSPI flash)", _M0PLUS, 133_000_000,
            0x1000_0100, 2 * _MIB - 256, 0x2000_0000, 264 * _KIB,
            "SRAM0-3 striped, SRAM4 and SRAM5 behind them",
            4 * _KIB, 4, 100_000, 45e-3, 30e-6, 190.0, 3.3,
            ("RP2040 datasheet: memory map; the first 256 bytes of flash are the second boot "
             "stage", _W25Q16),
            ("program_seconds", "ua_per_mhz"),
        ),
        Board(
            "rp2350", "Raspberry Pi Pico 2 (RP2350, one Cortex-M33, 4 MiB of QSPI flash)", _M33,
            150_000_000, 0x1000_0000, 4 * _MIB, 0x2000_0000, 520 * _KIB,
            "SRAM0-7 striped, SRAM8 and SRAM9 behind them",
            4 * _KIB, 4, 100_000, 45e-3, 30e-6, 130.0, 3.3,
            ("RP2350 datasheet: memory map, clock", _W25Q16),
            ("program_seconds", "ua_per_mhz"),
        ),
        Board(
            "samd51", "Microchip SAMD51J20A (Metro M4 class, without a boot loader)", _M4F,
            120_000_000, 0x0000_0000, _MIB, 0x2000_0000, 256 * _KIB, "all of the SRAM",
            8 * _KIB, 8, 10_000, 200e-3, 50e-6, 65.0, 3.3,
            ("SAM D5x/E5x datasheet (DS60001507): memory map; flash characteristics: block erase "
             "200 ms, 10,000 cycles; 65 uA/MHz in active mode",
             "Zephyr, samd5x.dtsi: flash is written 8 bytes at a time"),
            ("program_seconds",),
        ),
    )
}  # fmt: skip


def board_named(name: str) -> Board:
    """The board of that name; ConfigError with the known names for any other.

    >>> board_named("nrf52840").ram_bytes
    262144
    """
    if name not in BOARDS:
        raise ConfigError(f"board: expected one of {', '.join(sorted(BOARDS))}, got {name!r}")
    return BOARDS[name]
