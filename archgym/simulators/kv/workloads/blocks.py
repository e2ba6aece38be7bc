"""Identities of blocks: a trie over known pieces of prompts, numbered by first appearance."""

from typing import Any, Final

import numpy as np

from archgym.simulators.kit.kernels import entry_point
from archgym.simulators.kv.workloads.arrays import NEVER, Blocks, Ints, Shorts

_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_PRIME: Final = np.uint64(0xC2B2AE3D27D4EB4F)


@entry_point(1.0)
def make_trie(ids: Ints, start: Ints, table: Shorts, parent: Shorts, piece: Ints) -> Any:
    """Replace pieces by nodes of a trie, so that equal nodes mean equal prefixes.

    Args:
      ids: (n_pieces,), known pieces of all requests; replaced by nodes from 0.
      start: (n + 1,), first piece of each request.
      table: Hash table, a power of two above the number of pieces, filled with -1.
      parent, piece: (n_pieces,), parent and piece of each node.

    Returns:
      The number of nodes.
    """
    mask = np.uint64(table.shape[0] - 1)
    n_nodes = 0
    for request in range(start.shape[0] - 1):
        node = np.int32(-1)
        for at in range(start[request], start[request + 1]):
            value = ids[at]
            mixed = (np.uint64(value) * _FACTOR) ^ (np.uint64(node + 1) * _PRIME)
            mixed ^= mixed >> np.uint64(29)
            mixed *= _FACTOR
            slot = (mixed >> np.uint64(20)) & mask
            found = table[slot]
            while found >= 0 and (parent[found] != node or piece[found] != value):
                slot = (slot + np.uint64(1)) & mask
                found = table[slot]
            if found < 0:
                found = np.int32(n_nodes)
                table[slot] = found
                parent[found] = node
                piece[found] = value
                n_nodes += 1
            node = found
            ids[at] = node
    return n_nodes


@entry_point(1.0)
def number_blocks(
    nodes: Shorts,
    node_start: Ints,
    known: Ints,
    block: int,
    piece: int,
    label: Shorts,
    chain: Shorts,
    start: Ints,
) -> Any:
    """Give blocks of all requests numbers by first appearance, and return how many there are.

    Args:
      nodes: Nodes of the known pieces, request after request.
      node_start: (n + 1,), first node of each request.
      known: (n,), known tokens of each request.
      block: Tokens of a block.
      piece: Tokens of a piece.
      label: Number of each part of each node, filled with -1.
      chain, start: See `Blocks`; `chain` is filled.
    """
    parts = max(1, piece // block)
    n_blocks = 0
    for request in range(known.shape[0]):
        base = start[request]
        n_known = min(known[request] // block, start[request + 1] - base)
        for k in range(n_known):
            last = (k + 1) * block - 1
            code = np.int64(nodes[node_start[request] + last // piece]) * parts
            code += (last % piece) // block if parts > 1 else 0
            if label[code] < 0:
                label[code] = n_blocks
                n_blocks += 1
            chain[base + k] = label[code]
        for at in range(base + n_known, start[request + 1]):
            chain[at] = n_blocks
            n_blocks += 1
    return n_blocks


@entry_point(1.0)
def find_next_uses(blocks: Blocks, upcoming: Shorts, most: int, prompts_only: bool) -> None:
    """Fill `next_use` of blocks.

    Args:
      blocks: Requests.
      upcoming: (n_identities,), filled with `NEVER`; afterwards the first use of each.
      most: Blocks of a request that is not rejected, at most.
      prompts_only: True to count only presences in prompts, for requests that overlap.
    """
    for back in range(blocks.need.shape[0]):
        request = blocks.need.shape[0] - 1 - back
        if blocks.need[request] > most:
            continue
        base = blocks.start[request]
        n = blocks.start[request + 1] - base
        for k in range(n):
            blocks.next_use[base + k] = upcoming[blocks.chain[base + k]]
        for k in range(blocks.prompt[request] if prompts_only else n):
            is_eligible = k < blocks.eligible[request]
            upcoming[blocks.chain[base + k]] = request if is_eligible else NEVER
