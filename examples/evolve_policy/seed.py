# ruff: noqa: D103, F821 - a policy, not a module
"""Uses that decay, with terms for recency and for the layers until a block can be used again."""

DOMAIN = "expert-cache"
PERIOD = 512
GAIN = 64
LOSS = 1
HEAT = 16
RECENCY = 16
AHEAD = 0
heat = per_block(bits=16)
last = per_block(bits=32)


def on_use(block, layer, hit, time):
    age = (time - last[block]) // PERIOD
    heat[block] = min((heat[block] >> min(age * LOSS, 16)) + GAIN, 65535)
    last[block] = time


def score(block, layer, time):
    age = time - last[block]
    kept = heat[block] >> min(age // PERIOD * LOSS, 16)
    ahead = (layer - time) % N_LAYERS
    return kept * HEAT - age * RECENCY - ahead * AHEAD
