"""Least recently used."""

DOMAIN = "tlb"
last = per_line(bits=32)


def on_hit(line, set, page, time):
    last[line] = time


def on_fill(line, set, page, time):
    last[line] = time


def victim(line, set, time):
    best = 0
    for way in range(1, WAYS):
        if last[line + way] < last[line + best]:
            best = way
    return best
