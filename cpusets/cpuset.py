"""The value type `CpuSet`: a set of processing units by the operating system's index."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cpusets.errors import CpuListError

_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?\Z")
_HEX_GROUP = re.compile(r"[0-9a-fA-F]+\Z")

# Bound on an index that text may name. Linux is built for at most 8,192 CPUs on any
# architecture (NR_CPUS); the slack keeps a typing error from allocating gigabytes.
MAX_INDEX = 1 << 20


@dataclass(frozen=True, slots=True, order=False)
class CpuSet:
    """An immutable set of PUs (hardware threads) by OS index, of any size.

    The members are the bits of `bits`, so unions and intersections cost one machine operation
    per 64 CPUs, and equality and hashing are those of the set.
    """

    bits: int = 0

    def __post_init__(self) -> None:
        if self.bits < 0:
            raise CpuListError(
                "A set of CPUs cannot be infinite or negative.", "Give a finite set."
            )

    @classmethod
    def of(cls, cpus: Iterable[int]) -> CpuSet:
        """The set with the given members."""
        bits = 0
        for cpu in cpus:
            bits |= 1 << cpu
        return cls(bits)

    @classmethod
    def parse(cls, text: str) -> CpuSet:
        """Read the kernel's list form: `0-3,8`, `0-14:2` (with a stride), or nothing.

        Raises CpuListError for anything else.
        """
        bits = 0
        for part in filter(None, (p.strip() for p in text.strip().split(","))):
            match = _RANGE.match(part)
            if match is None:
                raise CpuListError(
                    f"{text!r} is not a list of CPUs: {part!r} is no number or range.",
                    "Write it as the kernel does, for example 0-3,8.",
                )
            first, last, step = match.groups()
            low, high = int(first), int(last or first)
            if high < low or (step is not None and int(step) == 0):
                raise CpuListError(
                    f"{text!r} is not a list of CPUs: the range {part!r} is empty.",
                    "Write the smaller number first and a stride of at least 1.",
                )
            if high > MAX_INDEX:
                raise CpuListError(
                    f"{text!r} names CPU {high}, which no Linux machine has.",
                    f"The highest CPU number that is read is {MAX_INDEX}.",
                )
            for cpu in range(low, high + 1, int(step or 1)):
                bits |= 1 << cpu
        return cls(bits)

    @classmethod
    def parse_mask(cls, text: str) -> CpuSet:
        """Read a hexadecimal mask: `0xff`, `ff`, or the kernel's `ffffffff,00000000`."""
        groups = text.strip().removeprefix("0x").removeprefix("0X").split(",")
        if not all(_HEX_GROUP.match(group) for group in groups) or len(text) > MAX_INDEX // 4:
            raise CpuListError(
                f"{text!r} is not a CPU mask.", "Write it in hexadecimal, for example 0xff."
            )
        # The kernel separates groups of 32 bits, of which only the first may be shortened.
        return cls(int(groups[0] + "".join(group.rjust(8, "0") for group in groups[1:]), 16))

    @classmethod
    def from_bytes(cls, mask: bytes) -> CpuSet:
        """Read a mask as sched_getaffinity(2) writes it on a little-endian machine."""
        return cls(int.from_bytes(mask, "little"))

    def to_bytes(self, size: int | None = None) -> bytes:
        """The little-endian mask for sched_setaffinity(2).

        `size` is the length in bytes; by default a whole number of 8-byte words, at least one,
        since the kernel works in unsigned longs. Raises CpuListError if the set does not fit.
        """
        needed = max(1, -(-self.bits.bit_length() // 64)) * 8
        if size is None:
            size = needed
        try:
            return self.bits.to_bytes(size, "little")
        except OverflowError as error:
            raise CpuListError(
                f"CPUs {self} do not fit into a mask of {size} bytes.",
                f"A mask of {needed} bytes holds them.",
            ) from error

    def hex_mask(self) -> str:
        """The set as Slurm's `--cpu-bind=mask_cpu:` takes it: `0xff`."""
        return hex(self.bits)

    def first(self) -> int:
        """The lowest member. Raises CpuListError on an empty set."""
        if not self.bits:
            raise CpuListError("An empty set of CPUs has no first member.")
        return (self.bits & -self.bits).bit_length() - 1

    def last(self) -> int:
        """The highest member. Raises CpuListError on an empty set."""
        if not self.bits:
            raise CpuListError("An empty set of CPUs has no last member.")
        return self.bits.bit_length() - 1

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Maximal runs of consecutive members, as (first, last), ascending."""
        bits, base = self.bits, 0
        while bits:
            gap = (bits & -bits).bit_length() - 1
            bits >>= gap
            run = (~bits & (bits + 1)).bit_length() - 1
            yield base + gap, base + gap + run - 1
            bits >>= run
            base += gap + run

    def isdisjoint(self, other: CpuSet) -> bool:
        """True where the two sets have no member in common."""
        return not self.bits & other.bits

    def __or__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits | other.bits)

    def __and__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits & other.bits)

    def __sub__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits & ~other.bits)

    def __le__(self, other: CpuSet) -> bool:
        return not self.bits & ~other.bits

    def __lt__(self, other: CpuSet) -> bool:
        return self.bits != other.bits and self <= other

    def __contains__(self, cpu: int) -> bool:
        return cpu >= 0 and bool(self.bits >> cpu & 1)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges():
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __str__(self) -> str:
        return ",".join(
            str(first) if first == last else f"{first}-{last}" for first, last in self.ranges()
        )

    def __repr__(self) -> str:
        return f"CpuSet.parse({str(self)!r})"


EMPTY = CpuSet()


def union(sets: Iterable[CpuSet]) -> CpuSet:
    """The union of any number of sets."""
    bits = 0
    for each in sets:
        bits |= each.bits
    return CpuSet(bits)
