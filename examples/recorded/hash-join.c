/* Hash join: 524,288 customers are put into a hash table with chains, then orders are read one
   after the other and joined with theirs. A few customers make many of the orders. */
#include "numbers.h"

#define CUSTOMERS (1u << 19)
#define ORDERS (1u << 18)

struct customer {
    uint32_t key, next;
    uint64_t region, balance, since;
};

struct order {
    uint32_t customer, amount;
};

int main(void) {
    struct customer *customers = zeroed((CUSTOMERS + 1) * sizeof *customers);
    uint32_t *heads = zeroed(CUSTOMERS * sizeof *heads);
    for (uint32_t i = 1; i <= CUSTOMERS; i++) {
        uint32_t *head = &heads[mixed(i) % CUSTOMERS];
        customers[i].key = i;
        customers[i].region = i % 25;
        customers[i].next = *head;
        *head = i;
    }
    struct order *orders = zeroed(ORDERS * sizeof *orders);
    for (uint32_t i = 0; i < ORDERS; i++) {
        uint64_t x = mixed(~(uint64_t)i);
        /* The cube of a uniform number: half of the orders fall to an eighth of the customers. */
        uint64_t u = x >> 44, cube = ((u * u) >> 20) * u >> 20;
        orders[i].customer = 1 + (uint32_t)((cube * CUSTOMERS) >> 20);
        orders[i].amount = (uint32_t)(x & 1023);
    }
    uint64_t *sums = zeroed(25 * sizeof *sums);
    for (uint32_t i = 0; i < ORDERS; i++) {
        uint32_t at = heads[mixed(orders[i].customer) % CUSTOMERS];
        while (at != 0 && customers[at].key != orders[i].customer)
            at = customers[at].next;
        if (at != 0)
            sums[customers[at].region] += orders[i].amount;
    }
    printf("%llu\n", (unsigned long long)sums[3]);
    return 0;
}
