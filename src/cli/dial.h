/*
 * How a command gets a connection to a host: the name is looked up, its addresses are tried in
 * turn, each for a while, and what went wrong is said.
 *
 * It must not know what is spoken on the connection.
 */
#ifndef TF_CLI_DIAL_H
#define TF_CLI_DIAL_H

#include "cli/run.h"
#include "cli/url.h"
#include "port/socket.h"

#define TF_CLI_DIAL_TIMEOUT (30 * TF_SECOND) /* until the peer has said yes */
#define TF_CLI_DIAL_ADDRESSES 8
#define TF_CLI_PEER_TEXT (TF_URL_HOST_MAX + 16)

enum tf_cli_dial_state {
    TF_CLI_DIALING,    /* wait */
    TF_CLI_DIALED,     /* `fd` is connected, and its source watched for reading */
    TF_CLI_DIAL_FAILED /* why has been said; the exit code is the dial's `code` */
};

struct tf_cli_dial {
    struct tf_cli_run *run;
    struct tf_loop_source *source; /* of the peer */
    struct tf_socket_address addresses[TF_CLI_DIAL_ADDRESSES];
    size_t at, count;
    tf_time end;         /* of all that comes before the peer has said yes; TF_TIME_NEVER */
    tf_time address_end; /* of an address, if there is another one */
    int fd;              /* -1: none */
    int code;
    bool debug;
    char text[TF_CLI_PEER_TEXT]; /* the host and port, as they are shown */
};

/* Prepares it. */
void tf_cli_dial_init(struct tf_cli_dial *dial, struct tf_cli_run *run,
                      struct tf_loop_source *source, const struct tf_cli_url *url, bool debug);

/* Looks the host up and begins; `timed`: the time is limited. DIALING or FAILED. */
enum tf_cli_dial_state tf_cli_dial_start(struct tf_cli_dial *dial, const struct tf_cli_url *url,
                                         bool timed);

/*
 * Once more from the present address on; `number` is the errno of why, if no address is left.
 * DIALING or FAILED.
 */
enum tf_cli_dial_state tf_cli_dial_again(struct tf_cli_dial *dial, int number);

/* The descriptor is ready. */
enum tf_cli_dial_state tf_cli_dial_ready(struct tf_cli_dial *dial);

/* Looks at the time, while DIALING; `end` is the caller's to look at. DIALING or FAILED. */
enum tf_cli_dial_state tf_cli_dial_tick(struct tf_cli_dial *dial);

/* Closes the descriptor, if there is one. */
void tf_cli_dial_close(struct tf_cli_dial *dial);

/* Says that the connection was lost; `number` is the errno of why, 0: the peer has closed it. */
void tf_cli_dial_say_lost(struct tf_cli_dial *dial, int number);

/* Says that the peer has not said yes in time; `what` is how it would have. */
void tf_cli_dial_say_late(struct tf_cli_dial *dial, const char *what);

/* What has arrived on a connection and was not taken. All zero: nothing. */
struct tf_cli_input {
    uint8_t *bytes; /* malloc */
    size_t length, size;
    size_t need; /* bytes in all that are wanted before it goes on; 0: any */
};

/*
 * Reads what there is, as much as there is room for. TF_AGAIN: nothing; TF_NO_MEMORY; TF_CLOSED and
 * TF_IO, with errno, as tf_socket_read.
 */
TF_MUST_USE enum tf_err tf_cli_dial_read(struct tf_cli_dial *dial, struct tf_cli_input *input);

/* Forgets the first `length` bytes. */
void tf_cli_input_take(struct tf_cli_input *input, size_t length);

#endif
