/*
 * Assertions of internal invariants, kept in release builds.
 *
 * Only for what Trefoil itself guarantees: never for what a peer sent, nor for a limit.
 */
#ifndef TF_BASE_ASSERT_H
#define TF_BASE_ASSERT_H

/* Ends the program at once when `condition` is false; it is evaluated exactly once. */
#define tf_assert(condition) ((condition) ? (void)0 : __builtin_trap())

#endif
