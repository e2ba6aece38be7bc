"""A table built on a Ray cluster of two nodes, of which the driver and a node are killed.

Run `python experiments/ray_table.py FILE --layer alexnet/fc6` (Linux). It prints JSON: digest,
kills, designs a second, memory and processor time. `--local` builds the same table with the threads
of this machine, and `--undisturbed` on the cluster without kills, for comparison.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from archgym.tables import partial_folder
from archgym.tasks.task import Task

NODE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 100 * 2**20,
    "include_dashboard": False,
}
MARK = "ARCHGYM_RAY_TABLE"
TICKS = os.sysconf("SC_CLK_TCK")


class Watch(threading.Thread):
    """Memory, processor time and finished parts, looked at once a second."""

    def __init__(self, parts: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.peak_mib: dict[str, float] = {}
        self.is_over = threading.Event()
        self.parts = 0
        self.simulated: dict[str, float] = {}
        """Seconds since the start, and processor seconds, when the last part was there."""
        self._count, self._began, self._busy = parts, time.monotonic(), busy_seconds()
        self._processor_s: dict[str, tuple[str, float]] = {}
        self.start()

    def run(self) -> None:
        while not self.is_over.wait(1.0):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self._look(process)
            parts = self._count()
            if parts > self.parts:
                self.parts, self.simulated = parts, self.times()

    def _look(self, process: Path) -> None:
        words = (process / "cmdline").read_text().replace("\0", " ")
        kind = "worker" if "ray::" in words else "driver"
        if kind == "driver" and " table build " not in words:
            return
        if f"{MARK}={os.getpid()}" not in (process / "environ").read_text(errors="replace"):
            return
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        # A number may be another process's later, but not with the same start.
        key = f"{process.name} {fields[19]}"
        self._processor_s[key] = kind, (int(fields[11]) + int(fields[12])) / TICKS
        for line in (process / "status").read_text().splitlines():
            if line.startswith("VmHWM"):
                mib = int(line.split()[1]) / 1024
                self.peak_mib[kind] = max(self.peak_mib.get(kind, 0.0), mib)

    def times(self) -> dict[str, float]:
        """Return seconds, processor seconds of drivers and workers, and those of all others."""
        found = {"s": time.monotonic() - self._began, "driver_cpu_s": 0.0, "worker_cpu_s": 0.0}
        for kind, seconds in self._processor_s.values():
            found[f"{kind}_cpu_s"] += seconds
        own = found["driver_cpu_s"] + found["worker_cpu_s"]
        found["others_cpu_s"] = busy_seconds() - self._busy - own
        return {name: round(value, 1) for name, value in found.items()}


def busy_seconds() -> float:
    """Return the seconds that this machine's processors have worked."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(int(words[place]) for place in (0, 1, 2, 5, 6)) / TICKS


def started_cluster() -> Any:
    """Return a cluster of two nodes, on a machine that may be busy."""
    from ray.cluster_utils import Cluster

    for start in range(5):
        cluster: Any = Cluster()
        try:
            for _ in range(2):
                cluster.add_node(**NODE)
            cluster.wait_for_nodes()
        except Exception:
            cluster.shutdown()
            if start == 4:
                raise
        else:
            break
    return cluster


def main() -> None:
    """Build the table and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layer", default="resnet-18/fc")
    parser.add_argument("--architecture", default="ws-systolic-16")
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--undisturbed", action="store_true")
    chosen = parser.parse_args()
    # Ray lets its workers give way to all others, which starves them on a busy machine.
    os.environ |= {MARK: str(os.getpid()), "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    options = {"layer": chosen.layer, "architecture": chosen.architecture}
    task = Task.make("accelerator", space="mapping", **options)
    words = [sys.executable, "-m", "archgym", "table", "build", "accelerator", "--space", "mapping"]
    words += [f"--option={name}={value}" for name, value in options.items()]
    words += ["--out", str(chosen.out), "--json"]

    def parts() -> int:
        return len(list(partial_folder(chosen.out).glob("part-?????")))

    kills: dict[str, int] = {}
    cluster = None if chosen.local else started_cluster()
    n_parts = max(1, min(2**12, -(-task.space.size // 2**14)))
    watch = Watch(parts)
    if cluster is not None:
        words += ["--ray", cluster.address]
    if kills_something := cluster is not None and not chosen.undisturbed:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        while process.poll() is None and parts() < n_parts // 4:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills["driver"] = parts()
    last = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    if cluster is not None and kills_something:
        while last.poll() is None and parts() < n_parts // 2:
            time.sleep(0.1)
        kills["node"] = parts()
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        cluster.add_node(**NODE)
    text, _ = last.communicate()
    watch.is_over.set()
    watch.join()
    made = json.loads(text) if last.returncode == 0 else {}
    found: dict[str, Any] = {name: made.get(name) for name in ("designs", "digest", "bytes")}
    found |= {"parts": n_parts, "parts_at_kills": kills}
    found |= {"until_last_part": watch.simulated, "whole": watch.times()}
    found |= {"peak_mib": {kind: round(mib) for kind, mib in watch.peak_mib.items()}}
    if made:
        cpu_s = watch.simulated["driver_cpu_s"] + watch.simulated["worker_cpu_s"]
        found["designs_per_s"] = round(made["designs"] / watch.simulated["s"])
        found["designs_per_cpu_s"] = round(made["designs"] / cpu_s)
    print(json.dumps(found, indent=1))
    if cluster is not None:
        cluster.shutdown()


if __name__ == "__main__":
    main()
