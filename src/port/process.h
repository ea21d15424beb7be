/*
 * What the process is to the system: its limits, its user, its memory, its processor time.
 */
#ifndef TF_PORT_PROCESS_H
#define TF_PORT_PROCESS_H

#include <stdint.h>

#include <trefoil/err.h>

/* Raises the limit of open files as far as it goes without privileges; the limit from now on. */
uint64_t tf_process_raise_files(void);

/* Bytes of memory that are resident now. TF_IO: the system does not tell. */
TF_MUST_USE enum tf_err tf_process_memory(uint64_t *ret_bytes);

/* Microseconds of processor time that all threads have used so far, in user and kernel mode. */
uint64_t tf_process_cpu_us(void);

/*
 * Becomes `user` and its groups for good, when running as root; else does nothing. After listening
 * on low ports, before anything is read from peers. TF_NOT_FOUND: no such user. TF_IO: errno; the
 * process may be half changed: end it.
 */
TF_MUST_USE enum tf_err tf_process_drop(const char *user);

/* Writes this process's number and a newline to `path`, replacing what is there. TF_IO: errno. */
TF_MUST_USE enum tf_err tf_process_write_pid(const char *path);

#endif
