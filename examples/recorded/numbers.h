/* Numbers that look random and are the same on every machine. */
#ifndef NUMBERS_H
#define NUMBERS_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a hash of 64 bits. */
static inline uint64_t mixed(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* Zeroed memory that takes no accesses to make: pages of the system, as they come. */
static inline void *zeroed(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (memory == NULL) {
        fputs("not enough memory\n", stderr);
        exit(1);
    }
    return memory;
}
#endif
