#include "sim/sim.h"
unsigned tf_sim_self_test(FILE *out)
{
    (void)out;
    return 0;
}
