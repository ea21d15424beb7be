/*
 * A histogram of latencies with logarithmic buckets: 64 to each power of two, so that a value is
 * known to within 1.6 % whatever its size, in a fixed amount of memory and a few instructions.
 * It must not know what is measured.
 */
#ifndef TF_CLI_BENCH_HISTOGRAM_H
#define TF_CLI_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    TF_BENCH_SUB_BITS = 6,
    TF_BENCH_BUCKETS = (64 - TF_BENCH_SUB_BITS + 1) << TF_BENCH_SUB_BITS
};

/* All zero: empty. */
struct tf_bench_histogram {
    uint64_t total;
    uint64_t max; /* exact */
    uint64_t counts[TF_BENCH_BUCKETS];
};

/* Counts one value. */
void tf_bench_histogram_add(struct tf_bench_histogram *histogram, uint64_t value);

/*
 * The smallest value that at least `percent` (0 to 100) of all counted ones do not exceed, rounded
 * up to the end of its bucket; 0 when nothing was counted.
 */
uint64_t tf_bench_histogram_at(const struct tf_bench_histogram *histogram, double percent);

#endif
