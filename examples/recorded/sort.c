/* Sort: one pass of a radix sort with digits of 11 bits over 1,048,576 rows of 16 bytes: a stream
   in, and 2048 streams out, more than a second-level TLB of 1536 entries holds. */
#include "numbers.h"

#define ROWS (1u << 20)
#define DIGITS 2048

struct row {
    uint64_t key, number;
};

int main(void) {
    struct row *rows = zeroed(ROWS * sizeof *rows);
    uint32_t *place = zeroed((DIGITS + 1) * sizeof *place);
    for (uint32_t i = 0; i < ROWS; i++) {
        rows[i].key = mixed(i);
        rows[i].number = i;
        place[1 + rows[i].key % DIGITS]++;
    }
    for (uint32_t digit = 1; digit < DIGITS; digit++)
        place[digit] += place[digit - 1];
    struct row *sorted = zeroed(ROWS * sizeof *sorted);
    for (uint32_t i = 0; i < ROWS; i++)
        sorted[place[rows[i].key % DIGITS]++] = rows[i];
    printf("%llu\n", (unsigned long long)sorted[ROWS / 2].number);
    return 0;
}
