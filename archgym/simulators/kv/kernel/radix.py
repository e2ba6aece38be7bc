"""Radix tree of pages as SGLang's cache keeps it; leaves are evicted whole.

An identity stands for a whole prefix, so a node is found by the first identity of its run.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.kit.kernels import entry_point, helper
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.workloads.arrays import Blocks, Ints, Shorts

USED, CLOCK, N_NODES, PAGES_OUT, NODES_OUT, FREED = range(6)
N_STATE: Final = 6
LRU, LFU = 0, 1


class Tree(NamedTuple):
    """Nodes of the tree, (n_nodes,) each unless said otherwise; node 0 is the root.

    Attributes:
      at: First entry of a node's run in the chain of blocks.
      length: Pages of its run; 0 for a node that does not exist.
      parent: Its parent.
      children: Number of its children.
      locks: Locks.
      uses: Insertions that passed.
      key: Order in the heap; the access time is in `time`.
      time: Time of the last access.
      node_of: (n_identities,), node whose run begins with an identity, or -1.
      spare: Nodes that were removed, to be used again.
      heap, place: Candidates of an eviction.
      state: (N_STATE,), numbers by the constants above.
    """

    at: Ints
    length: Ints
    parent: Shorts
    children: Shorts
    locks: Shorts
    uses: Ints
    key: Ints
    time: Ints
    node_of: Shorts
    spare: Shorts
    heap: Shorts
    place: Shorts
    state: Ints


def new_tree(n_requests: int, n_identities: int) -> Tree:
    """Return an empty tree; a request adds two nodes at most."""
    n = 3 * n_requests + 2
    longs, shorts = np.zeros((5, n), dtype=np.int64), np.zeros((6, n), dtype=np.int32)
    shorts[5] = -1
    state = np.zeros(N_STATE, dtype=np.int64)
    state[N_NODES] = 1
    return Tree(
        longs[0], longs[1], shorts[0], shorts[1], shorts[2], longs[2], longs[3], longs[4],
        np.full(n_identities, -1, dtype=np.int32), shorts[3], shorts[4], shorts[5], state,
    )  # fmt: skip


@helper
def _tick(tree: Tree) -> Any:
    tree.state[CLOCK] += 1
    return tree.state[CLOCK]


@helper
def _new_node(tree: Tree) -> Any:
    if tree.state[FREED] > 0:
        tree.state[FREED] -= 1
        return tree.spare[tree.state[FREED]]
    tree.state[N_NODES] += 1
    return tree.state[N_NODES] - 1


@helper
def _split(tree: Tree, chain: Shorts, node: int, k: int) -> Any:
    """Cut a node's run after `k` pages, and return the new node with the first part."""
    upper = _new_node(tree)
    tree.at[upper], tree.length[upper] = tree.at[node], k
    tree.parent[upper] = tree.parent[node]
    tree.children[upper] = 1
    tree.locks[upper], tree.uses[upper] = tree.locks[node], tree.uses[node]
    tree.time[upper] = _tick(tree)
    tree.node_of[chain[tree.at[node]]] = upper
    tree.at[node] += k
    tree.length[node] -= k
    tree.parent[node] = upper
    tree.node_of[chain[tree.at[node]]] = node
    return upper


@helper
def _walk(tree: Tree, chain: Shorts, base: int, n: int, is_inserting: bool, found: Ints) -> Any:
    """Return the deepest node that a key reaches; `found[0]` is the number of pages up to it."""
    now = _tick(tree)
    tree.time[0] = now
    node, pos = 0, 0
    while pos < n:
        child = tree.node_of[chain[base + pos]]
        if child < 0:
            break
        tree.time[child] = now
        length = tree.length[child]
        most = min(length, n - pos)
        k = 1
        while k < most and chain[tree.at[child] + k] == chain[base + pos + k]:
            k += 1
        node = child
        if k < length:
            node = _split(tree, chain, child, k)
        if is_inserting:
            tree.uses[node] += 1
        pos += k
        if k < length and not is_inserting:
            break
    found[0] = pos
    return node


@helper
def _lock(tree: Tree, node: int, by: int) -> None:
    while node > 0:
        tree.locks[node] += by
        node = tree.parent[node]


@helper
def _set_key(tree: Tree, policy: int, node: int) -> None:
    tree.key[node] = tree.time[node] + ((tree.uses[node] << 40) if policy == LFU else 0)


@helper
def _evict(tree: Tree, policy: int, chain: Shorts, short: int) -> None:
    """Remove whole leaves until `short` pages are gone, or none is left that is not locked."""
    n = 0
    for node in range(1, tree.state[N_NODES]):
        if tree.length[node] > 0 and tree.children[node] == 0 and tree.locks[node] == 0:
            _set_key(tree, policy, node)
            n = push(tree.heap, tree.place, tree.key, n, node)
    gone = 0
    while gone < short and n > 0:
        node = tree.heap[0]
        n = remove(tree.heap, tree.place, tree.key, n, node)
        gone += tree.length[node]
        tree.node_of[chain[tree.at[node]]] = -1
        tree.length[node] = 0
        tree.spare[tree.state[FREED]] = node
        tree.state[FREED] += 1
        tree.state[NODES_OUT] += 1
        parent = tree.parent[node]
        tree.children[parent] -= 1
        if parent > 0 and tree.children[parent] == 0 and tree.locks[parent] == 0:
            _set_key(tree, policy, parent)
            n = push(tree.heap, tree.place, tree.key, n, parent)
    tree.state[USED] -= gone
    tree.state[PAGES_OUT] += gone


@entry_point(6.0)
def run_radix(
    tree: Tree, policy: int, blocks: Blocks, capacity: int, found: Ints, hits: Ints
) -> None:
    """Run requests one after the other.

    Args:
      tree: Empty.
      policy: LRU or LFU.
      blocks: Requests.
      capacity: Pages.
      found: (1,), scratch.
      hits: (n,), filled; -1 for rejected requests.
    """
    chain = blocks.chain
    for request in range(hits.shape[0]):
        need, base = blocks.need[request], blocks.start[request]
        hits[request] = -1
        if need > capacity:
            continue
        n_full = blocks.start[request + 1] - base
        found[0] = 0
        node = 0
        if blocks.eligible[request] > 0:
            node = _walk(tree, chain, base, blocks.eligible[request], False, found)
        hits[request] = found[0]
        _lock(tree, node, 1)
        short = need - found[0] - (capacity - tree.state[USED])
        if short > 0:
            _evict(tree, policy, chain, short)
        if n_full > 0:
            end = _walk(tree, chain, base, n_full, True, found)
            if found[0] < n_full:
                leaf = _new_node(tree)
                tree.at[leaf], tree.length[leaf] = base + found[0], n_full - found[0]
                tree.parent[leaf] = end
                tree.children[leaf] = tree.locks[leaf] = 0
                tree.time[leaf], tree.uses[leaf] = _tick(tree), 1
                tree.children[end] += 1
                tree.node_of[chain[base + found[0]]] = leaf
                tree.state[USED] += n_full - found[0]
        _lock(tree, node, -1)
