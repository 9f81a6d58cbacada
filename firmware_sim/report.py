"""What a simulated run found, as one object, as JSON and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ffedge.units import show_bytes


@dataclass(frozen=True)
class Part:
    """A named part of RAM or flash."""

    name: str
    kind: str
    address: int
    nbytes: int


@dataclass(frozen=True)
class Report:
    """One run on one board.

    test_accuracy: share of ``test_samples`` that the device itself predicted right, 0..1.
    ram_bytes: stack, mailbox, arena and data together; stack_bytes: the most that was used of
    it; None at the model-only level.
    flash_bytes: code, constants and both checkpoint slots; code_bytes: code alone.
    instructions_per_step: of an update by one sample; None if the emulator does not count.
    cycles_per_step, seconds_per_step, energy_per_step_joule: estimates, see ``energy``.
    host_identical: every parameter byte after ``device_steps`` updates on the device, and every
    prediction, equals the host's. resumed: the same after save, power off, power on and load.
    kernels: instructions a step by function, unicorn only. estimates: names of board figures
    that no document gives.
    """

    board: str
    core: str
    network: str
    rule: str
    data: str
    emulator: str
    epochs: int
    steps: int
    device_steps: int
    test_samples: int
    test_accuracy: float
    host_identical: bool
    resumed: bool | None
    ram_bytes: int
    ram_available: int
    stack_bytes: int | None
    stack_available: int
    flash_bytes: int
    flash_available: int
    code_bytes: int
    instructions_per_step: float | None
    instructions_per_prediction: float | None
    cycles_per_step: float | None
    seconds_per_step: float | None
    energy_per_step_joule: float | None
    samples_per_second: float | None
    save: dict[str, float] | None
    ram_map: list[Part]
    flash_map: list[Part]
    arena: dict[str, int]
    kernels: dict[str, float] = field(default_factory=dict)
    fits: list[dict[str, Any]] = field(default_factory=list)
    estimates: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """A description made of JSON types."""
        return asdict(self)

    def text(self) -> str:
        """For people, about 30 lines."""
        same = "the host's, byte for byte" if self.host_identical else "NOT the host's"
        used = "unknown" if self.stack_bytes is None else f"{self.stack_bytes:,} B"
        lines = [
            f"board     {self.board}, {self.core}; emulator {self.emulator}",
            f"network   {self.network}, int8, rule {self.rule}; {self.data}, {self.epochs} epochs",
            f"result    {100 * self.test_accuracy:.2f} % of {self.test_samples:,} test samples "
            "right, predicted on the device",
            f"weights   {same}, after {self.device_steps:,} of {self.steps:,} steps on the device",
            f"RAM       {show_bytes(self.ram_bytes)} of {show_bytes(self.ram_available)}; "
            f"stack {used} of {self.stack_available:,} B used",
            f"flash     {show_bytes(self.flash_bytes)} of {show_bytes(self.flash_available)}; "
            f"code {self.code_bytes:,} B",
        ]
        if self.instructions_per_step is not None:
            assert self.cycles_per_step is not None
            assert self.seconds_per_step is not None
            assert self.energy_per_step_joule is not None
            lines += [
                f"step      {self.instructions_per_step:,.0f} instructions, about "
                f"{self.cycles_per_step:,.0f} cycles, {1e3 * self.seconds_per_step:.3g} ms, "
                f"{1e6 * self.energy_per_step_joule:.3g} uJ",
                f"speed     about {self.samples_per_second:,.0f} samples a second",
            ]
        if self.save:
            lines.append(
                f"save      {self.save['erases']:.0f} erases, {self.save['programs']:,.0f} words, "
                f"{self.save['seconds']:.2f} s, {1e3 * self.save['joules']:.2g} mJ; "
                f"{'the same' if self.resumed else 'NOT the same'} after a restart"
            )
        for name, parts in (("RAM map", self.ram_map), ("flash map", self.flash_map)):
            lines.append(f"{name}:")
            lines += [f"  {p.address:#010x} {p.nbytes:>11,} B  {p.name}" for p in parts]
        if self.kernels:
            lines.append("instructions a step:")
            total = sum(self.kernels.values())
            busy = sorted(self.kernels.items(), key=lambda item: -item[1])[:8]
            lines += [f"  {n:>12,.0f}  {100 * n / total:4.1f} %  {name}" for name, n in busy]
        if self.fits:
            lines.append("fits on:")
            lines += [f"  {_fit_line(fit)}" for fit in self.fits]
        note = "cycles, time and energy are estimates"
        if self.estimates:
            note += f"; without a document: {', '.join(self.estimates)}"
        return "\n".join([*lines, note])


def _fit_line(fit: dict[str, Any]) -> str:
    if fit["fits"]:
        return f"{fit['board']:<10} yes"
    missing = " and ".join(
        f"{fit[f'{kind}_missing']:,} B of {'RAM' if kind == 'ram' else kind}"
        for kind in ("ram", "flash")
        if fit[f"{kind}_missing"]
    )
    words = f"{missing} missing: " if missing else ""
    return f"{fit['board']:<10} no: {words}{fit['change']}"
