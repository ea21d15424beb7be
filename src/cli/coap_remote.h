/*
 * Whom a command speaks CoAP to: a host and port, or a group; its addresses in turn, a socket, the
 * endpoint machine, and the calls that are open.
 *
 * An address that the network says is not to be reached makes room for the next one, as long as
 * nothing was heard; after the last one its calls fail. It must not know what calls are for.
 */
#ifndef TF_CLI_COAP_REMOTE_H
#define TF_CLI_COAP_REMOTE_H

#include "cli/coap_run.h"

/* The one of the run's remotes that a target is at, or a new one. NULL: no memory. */
struct tf_cli_coap_remote *tf_cli_coap_remote_get(struct tf_cli_coap_run *run,
                                                  const struct tf_cli_coap_target *target);

/* Closes and frees it with its calls. */
void tf_cli_coap_remote_free(struct tf_cli_coap_remote *remote);

/* The remote that is a peer of the run. */
struct tf_cli_coap_remote *tf_cli_coap_remote_of(struct tf_cli_peer *peer);

/* Begins a call, which gets into its list. As tf_cli_coap_run_call. */
TF_MUST_USE enum tf_err tf_cli_coap_remote_call(struct tf_cli_coap_remote *remote,
                                                struct tf_cli_coap_call *call);

/* Asks a member of a group for the whole of what `call` asks all for. */
void tf_cli_coap_remote_fetch(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call,
                              const struct tf_datagram_path *member);

/* Ends a call without a word to the command; `tell` the server if it is observed. */
void tf_cli_coap_remote_cancel(struct tf_cli_coap_remote *remote, struct tf_cli_coap_call *call,
                               bool tell);

/* The calls that are open. */
struct tf_list *tf_cli_coap_remote_calls(struct tf_cli_coap_remote *remote);

/* How far the body has been sent that is under way in blocks. */
uint64_t tf_cli_coap_remote_sent(const struct tf_cli_coap_remote *remote);

/* The host and port, or the address that is used. */
const char *tf_cli_coap_remote_text(const struct tf_cli_coap_remote *remote);

#endif
