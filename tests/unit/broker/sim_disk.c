/*
 * The store's disk for tests, linked to those of the broker, too.
 */
#include "unit/store/sim_disk.c"
