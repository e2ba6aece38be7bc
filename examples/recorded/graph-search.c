/* Graph search: breadth-first over a random graph of 262,144 vertices with eight edges each, in
   which a quarter of the vertices get most edges. A vertex is a record of 64 bytes. */
#include "numbers.h"

#define VERTICES (1u << 18)
#define EDGES 8

struct vertex {
    uint32_t parent, depth;
    uint64_t payload[7];
};

int main(void) {
    uint32_t *edges = zeroed(VERTICES * EDGES * sizeof *edges);
    for (uint32_t i = 0; i < VERTICES * EDGES; i++) {
        uint64_t x = mixed(i);
        uint32_t among = (x >> 60) < 9 ? VERTICES / 4 : VERTICES;
        edges[i] = (uint32_t)(x % among);
    }
    struct vertex *vertices = zeroed(VERTICES * sizeof *vertices);
    uint32_t *queue = zeroed(VERTICES * sizeof *queue);
    uint32_t head = 0, tail = 0;
    queue[tail++] = 12345;
    vertices[12345].depth = 1;
    while (head < tail) {
        uint32_t v = queue[head++];
        uint32_t depth = vertices[v].depth + 1;
        for (uint32_t e = 0; e < EDGES; e++) {
            uint32_t w = edges[v * EDGES + e];
            if (vertices[w].depth == 0) {
                vertices[w].depth = depth;
                vertices[w].parent = v;
                queue[tail++] = w;
            }
        }
    }
    printf("%u vertices reached\n", tail);
    return 0;
}
