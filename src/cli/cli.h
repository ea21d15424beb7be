/*
 * The commands of `trefoil`, and what all of them share: exit codes and the way they take
 * arguments.
 *
 * A command is a function that gets its own arguments (argv[0] is its name) and gives an exit code.
 * Data goes to stdout, diagnostics to stderr.
 */
#ifndef TF_CLI_CLI_H
#define TF_CLI_CLI_H

/* Exit codes of every command. */
enum tf_exit {
    TF_EXIT_DONE = 0,
    TF_EXIT_INTERNAL = 1,
    TF_EXIT_USAGE = 2,   /* the command line or the configuration is not right */
    TF_EXIT_NETWORK = 3, /* no connection, or it was lost; an address that cannot be bound */
    TF_EXIT_AUTH = 4,    /* TLS or authentication */
    TF_EXIT_REFUSED = 5, /* by the peer */
    TF_EXIT_TIMEOUT = 6,
    TF_EXIT_VERIFY = 7 /* what came is not what should have come */
};

/* `trefoil serve`: runs a broker. */
int tf_cli_serve(int argc, char **argv);

/* What its --help shows. Static. */
extern const char tf_cli_serve_text[];

/* `trefoil pub`: publishes messages. */
int tf_cli_pub(int argc, char **argv);

/* `trefoil sub`: prints the messages of addresses. */
int tf_cli_sub(int argc, char **argv);

/* `trefoil get`: prints the value of an address. */
int tf_cli_get(int argc, char **argv);

/* `trefoil coap`: all that a CoAP client can do. */
int tf_cli_coap(int argc, char **argv);

/* `trefoil queues`: the queues of a running broker, and what can be done with one. */
int tf_cli_queues(int argc, char **argv);

/* `trefoil sessions`, `connections`: what a running broker has of them. */
int tf_cli_list(int argc, char **argv);

/* `trefoil store`: the store of a broker, looked at and copied. */
int tf_cli_store(int argc, char **argv);

#endif
