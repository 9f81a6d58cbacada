"""The part of GDB's remote protocol that a simulation needs, over a stream socket.

A packet is ``$data#xx``, xx the sum of its bytes modulo 256 in hexadecimal; each is acknowledged
by ``+``. Numbers are hexadecimal, memory and registers in the order of bytes of the target.
"""

from __future__ import annotations

import socket

from ffedge.errors import DeviceError

#: Bytes of memory in one packet; QEMU takes 4,096 characters.
_CHUNK = 1024

#: Their numbers in the protocol; xpsr holds the thumb bit, 24.
REGISTERS = {f"r{i}": i for i in range(13)} | {"sp": 13, "lr": 14, "pc": 15, "xpsr": 25}


class GdbRemote:
    """A stopped or running program behind a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb")
        # QEMU knows single registers only after its list of them was asked for.
        self.command("qXfer:features:read:target.xml:0,ffb")

    def command(self, text: str) -> str:
        """Send a packet; the answer's data."""
        self.send(text)
        return self.receive()

    def send(self, text: str) -> None:
        """Send a packet and wait for its acknowledgement."""
        body = text.encode()
        self._socket.sendall(b"$%s#%02x" % (body, sum(body) % 256))
        if self._next() != b"+":
            self._broken("an acknowledgement")

    def receive(self) -> str:
        """Wait for a packet; acknowledge it."""
        while self._next() != b"$":
            pass
        body = bytearray()
        while (byte := self._next()) != b"#":
            body += byte
        if int(self._stream.read(2), 16) != sum(body) % 256:
            self._broken("a packet with its own sum")
        self._socket.sendall(b"+")
        return _expanded(body.decode("latin1"))

    def _next(self) -> bytes:
        byte = self._stream.read(1)
        if not byte:
            self._broken("a byte")
        return byte

    def _broken(self, expected: str) -> None:
        raise DeviceError(
            f"gdb remote: expected {expected}, got the end of the connection or something else; "
            "the emulator may have ended",
            status=1,
        )

    def _ok(self, text: str) -> None:
        answer = self.command(text)
        if answer != "OK":
            raise DeviceError(f"gdb remote: expected OK to {text[:40]}, got {answer}", status=1)

    def read(self, address: int, nbytes: int) -> bytes:
        """``nbytes`` of memory."""
        content = bytearray()
        while len(content) < nbytes:
            size = min(_CHUNK, nbytes - len(content))
            answer = self.command(f"m{address + len(content):x},{size:x}")
            if answer.startswith("E"):
                raise DeviceError(
                    f"gdb remote: expected memory at {address + len(content):#010x}, got {answer}",
                    status=1,
                )
            content += bytes.fromhex(answer)
        return bytes(content)

    def write(self, address: int, data: bytes) -> None:
        """Write to memory, flash included."""
        for first in range(0, len(data), _CHUNK):
            part = data[first : first + _CHUNK]
            self._ok(f"M{address + first:x},{len(part):x}:{part.hex()}")

    def get(self, register: str) -> int:
        """One register."""
        return int.from_bytes(bytes.fromhex(self.command(f"p{REGISTERS[register]:x}")), "little")

    def set(self, register: str, value: int) -> None:
        """Set one register."""
        self._ok(f"P{REGISTERS[register]:x}={value.to_bytes(4, 'little').hex()}")

    def break_at(self, address: int) -> None:
        """Stop before the 2-byte instruction at ``address``."""
        self._ok(f"Z0,{address:x},2")

    def resume(self) -> str:
        """Run until something happens; the stop packet."""
        return self.command("c")

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()


def _expanded(body: str) -> str:
    """Undo the protocol's run lengths: ``0*"`` is six zeros."""
    out, i = "", 0
    while i < len(body):
        if body[i] == "*" and out:
            out += out[-1] * (ord(body[i + 1]) - 29)
            i += 2
        else:
            out += body[i]
            i += 1
    return out
