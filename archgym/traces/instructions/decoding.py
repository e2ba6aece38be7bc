"""Static instructions of x86-64: registers, memory operands and kind of branch, by capstone."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.runtime.importing import import_library
from archgym.runtime.reductions import report_loss
from archgym.traces.instructions.records import RECORD
from archgym.traces.instructions.stepping import CODE_BYTES, REGISTERS

_SP, _FLAGS, _IP = 6, 25, 26
# Registers as traces number them; 6, 25 and 26 have a meaning, the others are names.
_NUMBERS: Final = {"ax": 1, "bx": 2, "cx": 3, "dx": 4, "si": 5, "sp": _SP, "di": 7, "bp": 8}
_NO_ACCESS: Final = ("nop", "prefetch", "endbr", "fnop")
# A prefix may precede them.
_CALLS: Final = ("call", "lcall")
_ZEROING: Final = (
    "xor", "sub", "pxor", "xorps", "xorpd", "vpxor", "vxorps", "vxorpd", "psubb", "psubd",
    "psubq",
)  # fmt: skip
_ADDRESS_LIMIT: Final = 1 << 47


@final
@dataclass(frozen=True)
class _Operand:
    """A memory operand: the sum of registers' words, scaled, and a constant."""

    words: tuple[tuple[int, int], ...]
    constant: int
    is_read: bool
    is_written: bool


@final
@dataclass(frozen=True)
class _Static:
    record: npt.NDArray[np.void]
    operands: tuple[_Operand, ...]
    size: int


def _number(name: str) -> int:
    """Return a register's number in traces, 0 if it has none."""
    if name in ("rip", "eip", "ip"):
        return _IP
    if name in ("rflags", "eflags", "flags"):
        return _FLAGS
    if name[:1] == "r" and name[1:].rstrip("dwb").isdigit():
        return int(name[1:].rstrip("dwb")) + 1
    for prefix, base in (("xmm", 30), ("ymm", 30), ("zmm", 30), ("mm", 70), ("st", 78)):
        digits = name.removeprefix(prefix).strip("()")
        if name.startswith(prefix) and digits.isdigit():
            return base + int(digits)
    if name[:1] == "k" and name[1:].isdigit():
        return 100 + int(name[1:])
    stem = name.removeprefix("r").removeprefix("e")
    if stem in _NUMBERS:
        return _NUMBERS[stem]
    low = {"a": 1, "b": 2, "c": 3, "d": 4}
    if len(name) == 2 and name[1] in "lh" and name[0] in low:
        return low[name[0]]
    return _NUMBERS.get(name[:2], 0) if name.endswith("l") and len(name) == 3 else 0


def _word(name: str) -> int | None:
    """Return the index of a register among the recorded words."""
    full = name
    if name.startswith("e") and len(name) == 3:
        full = f"r{name[1:]}"
    elif name[:1] == "r" and name.endswith("d"):
        full = name[:-1]
    return REGISTERS.index(full) if full in REGISTERS else None


@final
class Decoder:
    """Instructions by address, each decoded once.

    Example:
        >>> Decoder(lambda address, size: b"")  # doctest: +SKIP
    """

    def __init__(self, read_memory: Any) -> None:
        """Take the function that reads bytes of the program: (address, size) -> bytes."""
        self._capstone: ModuleType = import_library("capstone", "cpu-record")
        engine = self._capstone.Cs(self._capstone.CS_ARCH_X86, self._capstone.CS_MODE_64)
        engine.detail = True
        self._engine = engine
        self._read = read_memory
        self._known: dict[int, _Static] = {}
        self._n_replaced = 0
        self._n_unread = 0
        self._n_unknown = 0
        self._n_cut = 0

    def report_losses(self) -> None:
        """Report which instructions the records do not hold in full."""
        n = self.n_static
        if self._n_unread:
            report_loss(
                f"the code of {self._n_unread:,} of {n:,} different instructions could not be read "
                "from the program's memory; the trace has them without operands."
            )
        if self._n_unknown:
            report_loss(
                f"{self._n_unknown:,} of {n:,} different instructions are unknown to capstone; the "
                "trace has them without operands."
            )
        if self._n_cut:
            report_loss(
                f"{self._n_cut:,} of {n:,} different instructions read more than four registers or "
                "write more than two; ChampSim's records hold the first ones."
            )

    @property
    def n_static(self) -> int:
        """Return the number of different instructions so far."""
        return self._n_replaced + len(self._known)

    def forget(self) -> None:
        """Forget the instructions by address, because another program takes their place."""
        self._n_replaced += len(self._known)
        self._known.clear()

    def records(
        self, rows: npt.NDArray[np.int64], following: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.void]:
        """Return the records of executed instructions, (n,).

        Args:
          rows: (n, 27), registers before each.
          following: (n,), address of the next instruction.
        """
        ips = rows[:, REGISTERS.index("rip")]
        unique, which = np.unique(ips, return_inverse=True)
        statics = [self._static(int(ip)) for ip in unique]
        records = np.array([s.record for s in statics], dtype=RECORD)[which]
        sizes = np.array([s.size for s in statics])[which]
        records["taken"] = (records["is_branch"] == 1) & (following != ips + sizes)
        order = np.argsort(which, kind="stable")
        starts = np.searchsorted(which[order], np.arange(len(unique) + 1))
        for number, static in enumerate(statics):
            if static.operands:
                at = order[starts[number] : starts[number + 1]]
                _place(records, at, rows[at], static)
        return records

    def _static(self, ip: int) -> _Static:
        if ip not in self._known:
            self._known[ip] = self._decode(ip)
        return self._known[ip]

    def _decode(self, ip: int) -> _Static:
        code = self._read(ip, CODE_BYTES)
        found = next(self._engine.disasm(code, ip, 1), None)
        record = np.zeros((), dtype=RECORD)
        record["ip"] = ip
        if not code:
            self._n_unread += 1
            return _Static(record, (), 1)
        if found is None:
            # An instruction that capstone does not know counts as one without operands.
            self._n_unknown += 1
            return _Static(record, (), 1)
        reads, writes = (
            [n for n in dict.fromkeys(_number(found.reg_name(r)) for r in regs) if n]
            for regs in found.regs_access()
        )
        operands = self._operands(found)
        name = found.mnemonic.split()[-1] if " " in found.mnemonic else found.mnemonic
        if name in _ZEROING and len({o.reg for o in found.operands if o.type == 1}) == 1:
            zeroed = {_number(found.reg_name(o.reg)) for o in found.operands if o.type == 1}
            if all(o.type == 1 for o in found.operands):
                reads = [n for n in reads if n not in zeroed]
        reads, writes = self._branch(found, name, reads, writes, record)
        if len(writes) > 2:
            writes = [n for n in writes if n not in (_SP, _FLAGS)] + [
                n for n in writes if n in (_SP, _FLAGS)
            ]
        self._n_cut += int(len(writes) > 2 or len(reads) > 4)
        record["destinations"][: len(writes[:2])] = writes[:2]
        record["sources"][: len(reads[:4])] = reads[:4]
        return _Static(record, operands, found.size)

    def _branch(
        self, found: Any, name: str, reads: list[int], writes: list[int], record: Any
    ) -> tuple[list[int], list[int]]:
        """Return the registers by which a branch's kind is known."""
        groups = set(found.groups)
        is_call = self._capstone.CS_GRP_CALL in groups and name in _CALLS
        is_return = self._capstone.CS_GRP_RET in groups and name.startswith("ret")
        is_jump = name.startswith(("j", "loop", "jmp", "ljmp", "bnd jmp"))
        if not (is_call or is_return or is_jump):
            # Only branches write IP, and it is known to instructions that read it.
            return [n for n in reads if n != _IP], [n for n in writes if n != _IP]
        record["is_branch"] = 1
        if is_return:
            return [_SP], [_SP, _IP]
        operand = found.operands[0]
        others = [n for n in reads if n not in (_SP, _IP, _FLAGS)]
        direct = operand.type == self._capstone.x86.X86_OP_IMM or (
            operand.type == self._capstone.x86.X86_OP_MEM
            and operand.mem.base == self._capstone.x86.X86_REG_RIP
        )
        if is_call:
            return ([_SP, _IP] if direct else [_SP, _IP, *others[:2]]), [_SP, _IP]
        if name in ("jmp", "ljmp"):
            return ([_IP] if direct else others or [1]), [_IP]
        if name.startswith(("loop", "jrcxz", "jecxz", "jcxz")):
            return [_IP, _NUMBERS["cx"]], [_IP]
        return [_IP, _FLAGS], [_IP]

    def _operands(self, found: Any) -> tuple[_Operand, ...]:
        name = found.mnemonic.split()[-1]
        if name == "lea" or name.startswith(_NO_ACCESS):
            return ()
        operands = [
            self._operand(found, o)
            for o in found.operands
            if o.type == self._capstone.x86.X86_OP_MEM
        ]
        sp, bp = REGISTERS.index("rsp"), REGISTERS.index("rbp")
        if name.startswith("push") or name in _CALLS:
            operands.append(_Operand(((sp, 1),), -8, is_read=False, is_written=True))
        elif name.startswith(("pop", "ret")) and name != "popcnt":
            operands.append(_Operand(((sp, 1),), 0, is_read=True, is_written=False))
        elif name == "leave":
            operands.append(_Operand(((bp, 1),), 0, is_read=True, is_written=False))
        return tuple(o for o in operands if o is not None)

    def _operand(self, found: Any, operand: Any) -> _Operand | None:
        words: list[tuple[int, int]] = []
        constant = operand.mem.disp
        for register, scale in ((operand.mem.base, 1), (operand.mem.index, operand.mem.scale)):
            if register == 0:
                continue
            name = found.reg_name(register)
            if name in ("rip", "eip"):
                constant += found.address + found.size
                continue
            word = _word(name)
            if word is None:
                return None
            words.append((word, scale))
        segment = found.reg_name(operand.mem.segment) if operand.mem.segment else ""
        if segment in ("fs", "gs"):
            words.append((REGISTERS.index(f"{segment}_base"), 1))
        access = operand.access
        return _Operand(
            tuple(words),
            constant,
            is_read=bool(access & self._capstone.CS_AC_READ),
            is_written=bool(access & self._capstone.CS_AC_WRITE),
        )


def _place(
    records: npt.NDArray[np.void],
    at: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    static: _Static,
) -> None:
    """Compute the addresses of all executions of one instruction."""
    n_reads = n_writes = 0
    for operand in static.operands:
        address = np.full(len(at), operand.constant, dtype=np.int64)
        for word, scale in operand.words:
            address += rows[:, word] * scale
        address[(address < 0) | (address >= _ADDRESS_LIMIT)] = 0
        if operand.is_read and n_reads < 4:
            records["reads"][at, n_reads] = address
            n_reads += 1
        if operand.is_written and n_writes < 2:
            records["writes"][at, n_writes] = address
            n_writes += 1
