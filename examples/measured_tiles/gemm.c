/* Matrix product in tiles; prints the least processor time of nine runs [ms].
 *
 * Usage: gemm TILE_I TILE_J TILE_K ijk|ikj
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIZE 384

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}

static int least(int a, int b) { return a < b ? a : b; }

static void ikj(const float *restrict a, const float *restrict b, float *restrict c, const int *tile) {
    for (int ii = 0; ii < SIZE; ii += tile[0])
        for (int kk = 0; kk < SIZE; kk += tile[2])
            for (int jj = 0; jj < SIZE; jj += tile[1])
                for (int i = ii; i < least(ii + tile[0], SIZE); i++)
                    for (int k = kk; k < least(kk + tile[2], SIZE); k++) {
                        float factor = a[i * SIZE + k];
                        int end = least(jj + tile[1], SIZE);
                        for (int j = jj; j < end; j++)
                            c[i * SIZE + j] += factor * b[k * SIZE + j];
                    }
}

static void ijk(const float *restrict a, const float *restrict b, float *restrict c, const int *tile) {
    for (int ii = 0; ii < SIZE; ii += tile[0])
        for (int kk = 0; kk < SIZE; kk += tile[2])
            for (int jj = 0; jj < SIZE; jj += tile[1])
                for (int i = ii; i < least(ii + tile[0], SIZE); i++)
                    for (int j = jj; j < least(jj + tile[1], SIZE); j++) {
                        float sum = c[i * SIZE + j];
                        int end = least(kk + tile[2], SIZE);
                        for (int k = kk; k < end; k++)
                            sum += a[i * SIZE + k] * b[k * SIZE + j];
                        c[i * SIZE + j] = sum;
                    }
}

int main(int n_words, char **words) {
    if (n_words != 5)
        return 2;
    int tile[3] = {atoi(words[1]), atoi(words[2]), atoi(words[3])};
    size_t n = (size_t)SIZE * SIZE;
    float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b), *c = calloc(n, sizeof *c);
    for (size_t i = 0; i < n; i++) {
        a[i] = (float)(i % 7);
        b[i] = (float)(i % 5);
    }
    double best = 1e30;
    for (int run = 0; run < 9; run++) {
        double start = now();
        (strcmp(words[4], "ikj") ? ijk : ikj)(a, b, c, tile);
        double took = now() - start;
        best = took < best ? took : best;
    }
    printf("%.6f %g\n", best, (double)c[SIZE + 1]);
    return 0;
}
