"""What processes have used: processor time and memory, from /proc."""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def process_tree(pid: int) -> Sequence[int]:
    """A process and all that descend from it, as far as they live."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for directory in Path("/proc").glob("[0-9]*"):
        fields = _stat_fields(int(directory.name))
        if fields:
            children[int(fields[1])].append(int(directory.name))
    found = [pid]
    for one in found:
        found.extend(children[one])
    return found


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and its descendants, also of those that have ended and were waited for."""
    used_s = 0.0
    for one in process_tree(pid):
        fields = _stat_fields(one)
        if fields:
            # cutime, cstime: what ended children used moves there, in steps of 10 ms.
            used_s += _own_cpu_s(one) + sum(int(field) for field in fields[13:15]) / _TICKS_PER_S
    return used_s


def _own_cpu_s(pid: int) -> float:
    """To the nanosecond; nothing if the process has ended."""
    # clock_getcpuclockid(3): the clock of a process is its ID, inverted, beside two bits for which clock it is.
    clock_id = (~pid << 3) | 2
    try:
        return time.clock_gettime(clock_id)
    except OSError:
        return 0.0


def resident_mib(pid: int) -> float:
    """Memory of a process and its descendants, now."""
    return sum(_status_mib(one, "VmRSS:") for one in process_tree(pid))


def peak_mib(pid: int) -> float:
    """The largest memory of a process and its descendants since `forget_peak`, each at its own moment."""
    return sum(_status_mib(one, "VmHWM:") for one in process_tree(pid))


def forget_peak(pid: int) -> None:
    """Count the peak of memory from now on."""
    for one in process_tree(pid):
        # The kernel's word for "reset the peak of the resident set".
        Path(f"/proc/{one}/clear_refs").write_text("5")


def _stat_fields(pid: int) -> Sequence[str]:
    """What follows the name of the program in /proc/<pid>/stat; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ()


def _status_mib(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0
