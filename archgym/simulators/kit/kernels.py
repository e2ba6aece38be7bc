"""Door for compiled code: kernels and rules. Importing it loads Numba."""

from archgym.rules.calls import BLOCK as BLOCK
from archgym.rules.calls import INNER as INNER
from archgym.rules.calls import SCORE as SCORE
from archgym.rules.calls import WAY as WAY
from archgym.rules.calls import EntryPoints as EntryPoints
from archgym.rules.calls import Storage as Storage
from archgym.runtime.hooks import call_hook as call_hook
from archgym.runtime.hooks import store_word as store_word
from archgym.runtime.kernels import compiled as compiled
from archgym.runtime.kernels import entry_point as entry_point
from archgym.runtime.kernels import helper as helper
from archgym.runtime.kernels import inlined as inlined
from archgym.runtime.kernels import kept_apart as kept_apart
from archgym.runtime.kernels import lowest_bit as lowest_bit
from archgym.runtime.kernels import pointer as pointer
