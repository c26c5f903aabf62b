"""How full the memory of this machine, or of this container, is."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def used_share(cgroup: Path = CGROUP) -> float:
    """Share of memory in use, 0 to 1: of the container's limit when it has one, else of the machine.

    A container's share is its working set (usage without the page cache that can be dropped), which is
    what the kubelet evicts by. psutil knows only the machine.
    """
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit != "max":
            stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
            used = int((cgroup / "memory.current").read_text()) - int(stat.get("inactive_file", 0))
            return used / int(limit)
    except OSError:
        # No cgroup v2 here: the machine's own figure is the right one.
        return _machine()
    return _machine()


def _machine() -> float:
    return float(psutil.virtual_memory().percent) / 100
