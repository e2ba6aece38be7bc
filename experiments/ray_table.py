"""A table built on a Ray cluster of two nodes, of which the driver and a node are killed.

Run `python experiments/ray_table.py FILE` (Linux). It prints JSON: digest, kills, seconds and peak
memory. `--local` builds the same table with the threads of this machine, for comparison.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from archgym.evaluation.task import Task
from archgym.tables import partial_folder

NODE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 100 * 2**20,
    "include_dashboard": False,
}
MARK = "ARCHGYM_RAY_TABLE"


class Memory(threading.Thread):
    """Peak resident memory of the builder's and of Ray's working processes [MiB]."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak: dict[str, float] = {}
        self.is_over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.is_over.wait(1.0):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    words = (process / "cmdline").read_text().replace("\0", " ")
                    kind = "worker" if "ray::" in words else "driver"
                    if " table build " not in words and kind == "driver":
                        continue
                    if MARK not in (process / "environ").read_text(errors="replace"):
                        continue
                    lines = (process / "status").read_text().splitlines()
                except OSError:
                    continue
                for line in lines:
                    if line.startswith("VmHWM"):
                        mib = int(line.split()[1]) / 1024
                        self.peak[kind] = max(self.peak.get(kind, 0.0), mib)


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
    chosen = parser.parse_args()
    # Ray lets its workers give way to all others, which starves them on a busy machine.
    os.environ |= {MARK: "1", "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
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
    memory, began = Memory(), time.monotonic()
    if cluster is not None:
        words += ["--ray", cluster.address]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        while process.poll() is None and parts() < n_parts // 4:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills["driver"] = parts()
    last = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    if cluster is not None:
        while last.poll() is None and parts() < n_parts // 2:
            time.sleep(0.1)
        kills["node"] = parts()
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        cluster.add_node(**NODE)
    text, _ = last.communicate()
    seconds = time.monotonic() - began
    memory.is_over.set()
    made = json.loads(text) if last.returncode == 0 else {}
    found = {name: made.get(name) for name in ("designs", "digest", "bytes")}
    found |= {"parts": n_parts, "parts_at_kills": kills, "seconds": round(seconds, 1)}
    found |= {"peak_mib": {kind: round(mib) for kind, mib in memory.peak.items()}}
    print(json.dumps(found, indent=1))
    if cluster is not None:
        cluster.shutdown()


if __name__ == "__main__":
    main()
