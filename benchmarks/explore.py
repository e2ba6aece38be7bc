"""Time from a slider's move to new numbers on the page of `archgym explore`, in Chromium.

A move follows the answer to the one before after some 30 ms, as in a drag. Then all neighbours of
a design at rest are waited for, but no longer than 25 s. The load of the machine is printed, since
it counts.

    python -m benchmarks.explore [SIMULATOR...]
"""

import os
import shutil
import sys

import numpy as np

from archgym.evaluation.simulator import simulator_names
from tests.explorer.driving import paged

MOVES = 60
RESTS = 5
_MOVE = """
const rng = (() => { let s = arguments[0]; return (n) => (s = (s * 16807) % 2147483647) % n; })();
const rest = arguments[2], took = [], until = (done) => new Promise((end) => {
  const look = () => (done() ? end() : setTimeout(look, 5)); look(); });
const inputs = () => [...page.querySelectorAll(".parameter:not(.inactive)")].map((r) =>
  r.querySelector("input[type=range], select")).filter((e) => e && !e.disabled);
return (async () => {
  for (let k = 0; k < arguments[1]; k++) {
    const all = inputs(), e = all[rng(all.length)], select = e.tagName === "SELECT";
    const n = select ? e.options.length : Number(e.max) + 1;
    const index = (Number(e.value) + 1 + rng(n - 1)) % n;
    const before = page.dataset.design;
    const began = performance.now();
    e.value = index; e.dispatchEvent(new Event(e.type === "range" ? "input" : "change"));
    await until(() => page.dataset.design !== before);
    const count = () => page.dataset.changes.split("/").map(Number);
    const isAll = () => page.dataset.changed === page.dataset.design && count()[0] === count()[1];
    if (rest) await until(() => isAll() || performance.now() - began > 25000);
    took.push([rest ? performance.now() - began : Number(page.dataset.took), count()[1]]);
    await new Promise((end) => setTimeout(end, 30));
  }
  return took;
})();
"""


def main() -> None:
    """Print a row a simulator: median and p95 of moves, and the time of all neighbours."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        sys.exit("needs chromium and chromedriver, such as Debian's packages")
    print(
        "simulator      move: median    p95 [ms]   neighbours   all known: median, max [s]   load"
    )
    for name in sys.argv[1:] or simulator_names():
        with paged(name) as page:
            page.settle()
            page.run(_MOVE, 7, 5, False)
            # A script of a browser may run for half a minute, in which slow designs move once.
            parts = [page.run(_MOVE, 12345 + seed, 1, False) for seed in range(MOVES)]
            moves = np.concatenate(parts)[:, 0]
            rests = np.concatenate([page.run(_MOVE, 99 + seed, 1, True) for seed in range(RESTS)])
        print(
            f"{name:14} {np.median(moves):12.0f} {np.percentile(moves, 95):10.0f} "
            f"{int(np.median(rests[:, 1])):12} {np.median(rests[:, 0]) / 1e3:12.2f} "
            f"{rests[:, 0].max() / 1e3:8.2f} {os.getloadavg()[0]:12.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
