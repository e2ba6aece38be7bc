"""Parameters that relieve each cost of a design, for agents that move by bottlenecks."""

from collections.abc import Mapping
from typing import Final

_ARRAY: Final = ("array_x", "array_y", "num_pes", "mac_mesh_x")
_LOOPS: Final = (
    "split_c", "split_m", "split_r", "split_s", "split_p", "split_q", "stationary",
    "tiles_k", "tiles_c", "tiles_x", "tiles_y", "tiles_s", "tiles_r",
)  # fmt: skip
_ORDERS: Final = (
    "dataflow", "parallel_inner", "parallel_outer", "order_inner", "order_outer",
    "order_weights_spad", "order_ifmap_spad", "order_dummybuffer", "order_shared_glb",
    "order_dram",
)  # fmt: skip
_REGISTERS: Final = (
    "output_words", "weight_words", "input_words",
    "psum_depth", "weights_depth", "ifmap_depth", "psum_class", "weights_class", "ifmap_class",
)  # fmt: skip
_BUFFER: Final = ("buffer_kib", "buffer_weights", "glb_depth", "glb_class")

RELIEF: Final[Mapping[str, tuple[str, ...]]] = {
    "arithmetic": ("precision_bits", *_ARRAY),
    "idle-units": (*_ARRAY, *_ORDERS[:3], *_LOOPS),
    "refetching": (*_BUFFER, *_REGISTERS, *_LOOPS, *_ORDERS),
    "dram-bandwidth": ("dram_bandwidth", *_BUFFER, *_LOOPS, *_ORDERS),
    "buffer-bandwidth": (
        "buffer_bandwidth", "buffer_banks", "glb_read_bandwidth", "glb_write_bandwidth",
        *("glb_banks", *_REGISTERS, *_LOOPS),
    ),
    "dram-energy": (*_BUFFER, "precision_bits", *_LOOPS, *_ORDERS),
    "buffer-energy": (*_REGISTERS, "precision_bits", *_BUFFER, *_LOOPS, *_ORDERS),
    "register-energy": (*_REGISTERS, "precision_bits", *_LOOPS),
}  # fmt: skip
"""By cost of `costs.py`, what decides it by the model's rules; a space need not have all."""
