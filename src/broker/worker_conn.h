/*
 * A worker's connections: accepting, adopting, reading, writing and ending them. Private to
 * src/broker/worker*.c.
 */
#ifndef TF_BROKER_WORKER_CONN_H
#define TF_BROKER_WORKER_CONN_H

#include "broker/worker.h"

/* The worker's mail. */
enum {
    TF_MAIL_ADOPT = TF_MAIL_WORKER /* a connection: `value` descriptor, `count` listener, `object`
                                      `tag` bytes of input, allocated */
};

/* The whole of a connection's record here. It must stay small: 100,000 idle ones are kept. */
struct tf_worker_conn {
    struct tf_worker_source source;
    struct tf_list_node node; /* worker->open, ->held, ->slowed or ->ending */
    struct tf_stream *stream; /* NULL while DRAINING */
    tf_time deadline;         /* of SLOWED, CLOSING and DRAINING */
};

_Static_assert(sizeof(struct tf_worker_conn) <= 64, "an idle connection is cheap");

/* The front that serves a listener; NULL: none does. */
struct tf_front *tf_worker_front(struct tf_worker *worker, unsigned listener);

/* Deals with one event of the loop. */
void tf_worker_event(struct tf_worker *worker, const struct tf_loop_event *event);

/* Takes a connection from the mail. */
void tf_worker_adopt(struct tf_worker *worker, const struct tf_mail *mail);

/* Writes the streams and channels that were touched, a few rounds of them; what is left stays
 * dirty. */
void tf_worker_write(struct tf_worker *worker);

/* Watches again what was put aside while the worker was congested. */
void tf_worker_resume(struct tf_worker *worker);

/* Touches the streams whose output has waited for what the store has done now; ends those that wait
 * for what it will never do. */
void tf_worker_ungate(struct tf_worker *worker);

/* Watches publishers again that have rested for the sake of a slow store. */
void tf_worker_resume_slowed(struct tf_worker *worker);

/* Gives up the connections whose time to end has passed (TF_TIME_NEVER: all that are ending). */
void tf_worker_give_up(struct tf_worker *worker, tf_time now);

/* When the next connection has had its time to end, or to rest; TF_TIME_NEVER: none has one. */
tf_time tf_worker_next_end(const struct tf_worker *worker);

/* Watches the listeners that rested again. */
void tf_worker_accept_again(struct tf_worker *worker);

/* Takes all listeners out of the loop and frees their records. */
void tf_worker_unlisten(struct tf_worker *worker);

/* Ends every connection and channel at once, whatever it has to say. */
void tf_worker_break(struct tf_worker *worker);

#endif
