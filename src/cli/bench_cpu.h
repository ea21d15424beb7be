/*
 * What another process of this machine has cost so far.
 */
#ifndef TF_CLI_BENCH_CPU_H
#define TF_CLI_BENCH_CPU_H

#include <stdint.h>

/* CPU time of all threads of `pid` in microseconds; below 0: 0 is no pid, or nobody has it. */
double tf_bench_cpu_us(uint32_t pid);

#endif
