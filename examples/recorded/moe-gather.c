/* MoE-like gather: for each token a layer chooses two of 64 experts and reads 8 KB of either's
   weights, and attention reads 24 of 65,536 key-value blocks of 256 bytes by a page table. */
#include "numbers.h"

#define EXPERTS 64
#define EXPERT_WORDS (1u << 17)
#define READ_WORDS 1024
#define BLOCKS (1u << 16)
#define BLOCK_WORDS 32
#define GATHERED 24

int main(void) {
    double *weights = zeroed((size_t)EXPERTS * EXPERT_WORDS * sizeof *weights);
    double *cache = zeroed((size_t)BLOCKS * BLOCK_WORDS * sizeof *cache);
    uint32_t *page_table = zeroed(BLOCKS * sizeof *page_table);
    /* A permutation: the multiplier is odd. */
    for (uint32_t i = 0; i < BLOCKS; i++)
        page_table[i] = (uint32_t)((i * 40503u + 7u) % BLOCKS);
    double sum = 0.0;
    for (uint64_t token = 0; token < 400; token++) {
        for (int chosen = 0; chosen < 2; chosen++) {
            uint64_t x = mixed(2 * token + chosen);
            double *expert = weights + (x % EXPERTS) * EXPERT_WORDS;
            double *part = expert + (x >> 32) % (EXPERT_WORDS / READ_WORDS) * READ_WORDS;
            for (uint32_t i = 0; i < READ_WORDS; i++)
                sum += part[i];
        }
        for (int gathered = 0; gathered < GATHERED; gathered++) {
            uint64_t x = mixed(~(GATHERED * token + gathered));
            double *block = cache + (size_t)page_table[x % BLOCKS] * BLOCK_WORDS;
            for (uint32_t i = 0; i < BLOCK_WORDS; i++)
                sum += block[i];
            if (gathered % 8 == 0)
                block[token % BLOCK_WORDS] = sum;
        }
    }
    printf("%g\n", sum);
    return 0;
}
