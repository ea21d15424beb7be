/*
 * The histogram of bench_histogram.h. Below 64 each value has its own bucket; above, the bucket is
 * the position of the highest bit and the six bits that follow it.
 */
#include "cli/bench_histogram.h"

enum { SUB_COUNT = 1 << TF_BENCH_SUB_BITS };

static unsigned shift_of(uint64_t value)
{
    unsigned shift = 0;
    for (value >>= TF_BENCH_SUB_BITS + 1; value; value >>= 1)
        shift++;
    return shift;
}

void tf_bench_histogram_add(struct tf_bench_histogram *histogram, uint64_t value)
{
    unsigned shift = shift_of(value);
    histogram->counts[(shift << TF_BENCH_SUB_BITS) + (value >> shift)]++;
    histogram->total++;
    if (value > histogram->max)
        histogram->max = value;
}

uint64_t tf_bench_histogram_at(const struct tf_bench_histogram *histogram, double percent)
{
    double wanted = percent / 100 * (double)histogram->total;
    uint64_t seen = 0;
    for (unsigned i = 0; i < TF_BENCH_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (!seen || (double)seen < wanted)
            continue;
        unsigned shift = i < 2 * SUB_COUNT ? 0 : (i >> TF_BENCH_SUB_BITS) - 1;
        uint64_t first = (uint64_t)(i - (shift << TF_BENCH_SUB_BITS)) << shift;
        uint64_t last = first + (((uint64_t)1 << shift) - 1);
        return last < histogram->max ? last : histogram->max;
    }
    return histogram->max;
}
