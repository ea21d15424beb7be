/*
 * The options of every command that connects to a broker as an MQTT client.
 *
 * They come from one table, so that `pub` and `sub` and the others take the same. What they lead to
 * is in client.h. It must not know what a command does with its connection.
 */
#ifndef TF_CLI_OPTIONS_H
#define TF_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <trefoil/time.h>

#include "cli/manual.h"
#include "cli/url.h"

/* Keys of a command's own options that have no letter begin behind this one. */
#define TF_CLI_KEY_OWN 512

#define TF_CLI_ID 64

struct tf_cli_connection_options {
    const char *client_id; /* NULL: one is made */
    const char *user;      /* NULL: as the URL says */
    char *password;        /* malloc; NULL: as the URL says */
    const char *will_topic;
    const char *will_payload;
    tf_time timeout_us; /* 0: not given */
    uint32_t will_delay_s;
    uint32_t session_expiry_s;
    uint16_t keep_alive_s;
    uint8_t version; /* enum tf_mqtt_version */
    uint8_t will_qos;
    bool will_retain;
    bool will_given; /* some option of the will */
    bool version_given;
    bool expiry_given;
    bool keep_session; /* resume the session, and leave it */
    bool debug;
};

/* Connection, will and what else all commands have. */
extern const struct tf_cli_group tf_cli_connection_group;
extern const struct tf_cli_group tf_cli_will_group;
extern const struct tf_cli_group tf_cli_session_group; /* -c and -x: for those who may keep one */

/* The defaults. */
void tf_cli_options_init(struct tf_cli_connection_options *options);

/* Frees what the options hold. */
void tf_cli_options_release(struct tf_cli_connection_options *options);

/* Takes an option of one of the groups. As tf_cli_take, but TF_CLI_KEY_OWN: it is none of them. */
int tf_cli_options_take(struct tf_cli_connection_options *options,
                        const struct tf_cli_manual *manual, int key, const char *value);

/* Checks what options say together. Below 0: good; else the exit code, and stderr tells why. */
int tf_cli_options_check(const struct tf_cli_connection_options *options,
                         const struct tf_cli_manual *manual);

/* The first option given that only MQTT has something for; NULL: none. */
const char *tf_cli_options_only_mqtt(const struct tf_cli_connection_options *options);

/* Who the user is, and the password; NULL: not given. The options go before the URL. */
const char *tf_cli_options_user(const struct tf_cli_connection_options *options,
                                const struct tf_cli_url *url);
const char *tf_cli_options_password(const struct tf_cli_connection_options *options,
                                    const struct tf_cli_url *url);

/* Makes an id for a command's connection; the one given, if there is one, goes before it. */
void tf_cli_make_id(const char *command, char ret_id[TF_CLI_ID]);

/* Reads seconds with up to six decimals, above 0. As tf_cli_number. */
int tf_cli_seconds(const struct tf_cli_manual *manual, const char *option, const char *text,
                   tf_time *ret_us);

#endif
