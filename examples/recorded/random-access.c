/* Random access: read-modify-writes anywhere in 128 MB, 128 streams of them, as in HPCC's
   RandomAccess. Nothing is initialised, since zeroed pages serve. */
#include "numbers.h"

#define TABLE_WORDS (1u << 24)
#define STREAMS 128

int main(void) {
    uint64_t *table = zeroed(TABLE_WORDS * sizeof *table);
    uint64_t *stream = zeroed(STREAMS * sizeof *stream);
    for (int j = 0; j < STREAMS; j++)
        stream[j] = mixed(j);
    for (int i = 0; i < 1000; i++)
        for (int j = 0; j < STREAMS; j++) {
            /* One step of the shift register x^63 + x^2 + x + 1, as HPCC has it. */
            stream[j] = (stream[j] << 1) ^ ((int64_t)stream[j] < 0 ? 7 : 0);
            /* Mixed, since neighbouring states of a register differ by little. */
            table[mixed(stream[j]) % TABLE_WORDS] ^= stream[j];
        }
    printf("%llu\n", (unsigned long long)table[0]);
    return 0;
}
