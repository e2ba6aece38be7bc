"""A stand-in for your simulator: a program that models a cache and prints what it measured.

python cache_program.py --capacity-kb 32 --ways 4 --line-bytes 64 --policy lru --stride 8
"""

import argparse


def misses(n_sets: int, ways: int, line_bytes: int, policy: str, stride: int) -> int:
    """Misses of three passes over 64 kB, each set an ordered list of its lines."""
    sets: list[list[int]] = [[] for _ in range(n_sets)]
    missed = 0
    for address in list(range(0, 65536, stride)) * 3:
        line = address // line_bytes
        held = sets[line % n_sets]
        if line in held:
            if policy == "lru":
                held.append(held.pop(held.index(line)))
            continue
        missed += 1
        held.append(line)
        if len(held) > ways:
            held.pop(-2 if policy == "mru" else 0)
    return missed


def main() -> None:
    """Read the options, run the model and print two lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capacity-kb", type=int, required=True)
    parser.add_argument("--ways", type=int, required=True)
    parser.add_argument("--line-bytes", type=int, required=True)
    parser.add_argument("--policy", choices=["lru", "fifo", "mru"], required=True)
    parser.add_argument("--stride", type=int, default=64)
    options = parser.parse_args()
    n_sets = options.capacity_kb * 1024 // (options.ways * options.line_bytes)
    if n_sets < 8:
        print("cannot build: fewer than eight sets")
        return
    missed = misses(n_sets, options.ways, options.line_bytes, options.policy, options.stride)
    accesses = 3 * 65536 // options.stride
    hit_ns = 1.0 + 0.1 * options.ways + 0.01 * options.capacity_kb
    miss_ns = 40.0 + 0.25 * options.line_bytes
    print(f"mean latency: {hit_ns + missed / accesses * miss_ns:.4f} ns")
    print(f"area: {0.02 * options.capacity_kb * (1 + 0.05 * options.ways):.4f} mm2")


if __name__ == "__main__":
    main()
