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

#endif
