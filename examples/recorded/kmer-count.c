/* k-mer count: how often each word of 21 bases comes in a random genome, in a hash table of 64 MB
   with open addressing. */
#include "numbers.h"

#define BASES 400000u
#define K 21
#define SLOTS (1u << 22)

struct slot {
    uint64_t kmer;
    uint64_t count;
};

int main(void) {
    uint8_t *genome = zeroed(BASES);
    for (uint32_t i = 0; i < BASES; i++)
        genome[i] = (uint8_t)(mixed(i) & 3);
    struct slot *table = zeroed(SLOTS * sizeof *table);
    uint64_t kmer = 0, mask = (1ull << (2 * K)) - 1, distinct = 0;
    for (uint32_t i = 0; i < BASES; i++) {
        kmer = ((kmer << 2) | genome[i]) & mask;
        if (i < K - 1)
            continue;
        /* One more, so that no word is zero, the sign of an empty slot. */
        uint64_t key = kmer + 1, at = mixed(key) % SLOTS;
        while (table[at].kmer != key && table[at].kmer != 0)
            at = (at + 1) % SLOTS;
        if (table[at].kmer == 0) {
            table[at].kmer = key;
            distinct++;
        }
        table[at].count++;
    }
    printf("%llu distinct words\n", (unsigned long long)distinct);
    return 0;
}
