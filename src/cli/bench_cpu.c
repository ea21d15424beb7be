/*
 * The CPU time of a process: see bench_cpu.h.
 */
#include "cli/bench_cpu.h"

#include <time.h>

double tf_bench_cpu_us(uint32_t pid)
{
    clockid_t clock;
    struct timespec time;
    if (!pid || clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
        return -1;
    }
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}
