/*
 * The configuration of a broker: what `trefoil serve` was told, by file and by command line.
 *
 * The language is mosquitto.conf: `key value`, one a line; `#` begins a comment line; options after
 * a `listener` line belong to that listener; `include_dir` reads the *.conf of a folder, sorted.
 * One table (config_keys.h) makes the parser, --check, the manual page and "did you mean"; every
 * key of mosquitto 2.0 is in it, done or with the reason why not.
 *
 * How it is used:
 *   1. tf_config_init_default
 *   2. tf_config_parse_file, when there is a file       (all or nothing: a bad file changes
 * nothing)
 *   3. tf_config_set and tf_config_add_url, for what the command line says
 *   4. tf_config_finish                                  (now the listeners are complete)
 *   5. tf_config_check, for --check
 *   6. read the fields
 *   7. on SIGHUP: 1 to 4 into a second one, tf_config_diff, tf_config_keep, then use the second one
 *   8. tf_config_release
 *
 * Each step tells a report what it found. It knows nothing of sockets, users, shards or sessions,
 * and it decides nothing that a running broker can decide better (whether an address can be bound).
 */
#ifndef TF_BROKER_CONFIG_H
#define TF_BROKER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <trefoil/err.h>

#define TF_CONFIG_LINE_MAX 8192          /* bytes in a line; a longer one is an error */
#define TF_CONFIG_FILE_MAX (8u << 20)    /* bytes in a file, and in all included files together */
#define TF_CONFIG_INCLUDE_MAX 1000       /* files in all include_dir together */
#define TF_CONFIG_LISTENER_MAX 256       /* listeners */
#define TF_CONFIG_QUEUE_MAX 10000        /* queues */
#define TF_CONFIG_TOPIC_MAX 10000        /* topics; and filters that one queue is bound to */
#define TF_CONFIG_ADDRESS_MAX 1000       /* address blocks */
#define TF_CONFIG_ERROR_MAX 20           /* errors after which reading stops */
#define TF_CONFIG_REMARK_MAX 256         /* warnings and notes that one report keeps */
#define TF_CONFIG_KEY_MAX 256            /* keys that the table may have */
#define TF_CONFIG_UNLIMITED UINT32_MAX   /* in 32-bit limits: none */
#define TF_CONFIG_UNLIMITED64 UINT64_MAX /* in 64-bit limits: none */

/* ---- what was found ---- */

enum tf_config_severity {
    TF_CONFIG_ERROR,   /* the configuration is refused */
    TF_CONFIG_WARNING, /* it is taken, and does not do all that it says */
    TF_CONFIG_NOTE     /* for --check: a default that loses data, a key that means nothing here */
};

/* One thing that was found. */
struct tf_config_finding {
    enum tf_config_severity severity;
    unsigned line;   /* from 1; 0: concerns the whole */
    unsigned column; /* from 1, in bytes; 0: concerns the whole line */
    char *file;      /* as it was named; NULL: concerns no file */
    char *text;      /* a sentence without its full stop, with the nearest key where there is one */
};

/* What was found, in the order of finding. Filled by the functions below, read by anybody. */
struct tf_config_report {
    struct tf_config_finding *items;
    size_t count;
    size_t capacity;
    size_t errors;  /* all errors, the ones not kept included */
    size_t dropped; /* findings that were not kept: too many, or no memory */
};

/* An empty report; needs no memory. */
void tf_config_report_init(struct tf_config_report *report);

/* Frees what a report holds; it is then empty and may be used again. */
void tf_config_report_release(struct tf_config_report *report);

/*
 * Writes each finding as `file:line:column: error: text`, one a line, down to the severity `least`
 * (TF_CONFIG_NOTE: all; a starting broker prints to TF_CONFIG_WARNING). TF_IO: `out` has failed.
 */
enum tf_err tf_config_report_print(const struct tf_config_report *report,
                                   enum tf_config_severity least, FILE *out) TF_MUST_USE;

/* ---- what was told ---- */

enum tf_config_domain { TF_CONFIG_DOMAIN_ANY, TF_CONFIG_DOMAIN_IPV4, TF_CONFIG_DOMAIN_IPV6 };

/* What a listener speaks; what each is, tf_config_protocol_info tells. */
enum tf_config_protocol {
    TF_CONFIG_PROTOCOL_MQTT,
    TF_CONFIG_PROTOCOL_COAP,
    TF_CONFIG_PROTOCOL_AMQP,
    TF_CONFIG_PROTOCOL_COUNT
};

/* Bits of `log_types`, the kinds of lines that are logged. */
enum tf_config_log_type {
    TF_CONFIG_LOG_ERROR = 1,
    TF_CONFIG_LOG_WARNING = 2,
    TF_CONFIG_LOG_NOTICE = 4,
    TF_CONFIG_LOG_INFORMATION = 8,
    TF_CONFIG_LOG_DEBUG = 16,
    TF_CONFIG_LOG_SUBSCRIBE = 32,
    TF_CONFIG_LOG_UNSUBSCRIBE = 64
};

/* Bits of `log_dests`, where log lines go. None set: nowhere. */
enum tf_config_log_dest {
    TF_CONFIG_LOG_TO_STDERR = 1,
    TF_CONFIG_LOG_TO_STDOUT = 2,
    TF_CONFIG_LOG_TO_FILE = 4
};

/* How safe something is kept: what an acknowledgement of it means. As enum tf_store_level. */
enum tf_config_durability {
    TF_CONFIG_DURABILITY_MEMORY, /* it is in memory, and lost with the process */
    TF_CONFIG_DURABILITY_OS,     /* it was written, and is lost with the machine */
    TF_CONFIG_DURABILITY_DISK,   /* it is on the disk */
    TF_CONFIG_DURABILITY_INHERIT /* as said elsewhere; not after tf_config_finish */
};

/* Who may connect, and under which name: of a listener, or of all (per_listener_settings). */
struct tf_config_access {
    bool allow_anonymous;
    bool allow_anonymous_given;      /* it was said; else tf_config_finish decided */
    bool allow_zero_length_clientid; /* the broker makes a client id where a client gives none */
    char *auto_id_prefix;            /* what such an id begins with; never NULL after finish */
};

/* One listener. After tf_config_finish all fields are what holds for it. */
struct tf_config_listener {
    char *host;        /* numeric or a name, without brackets; NULL: all interfaces */
    uint16_t port;     /* 0: a free one */
    bool may_fail;     /* go on if it cannot be bound ([::1] of the default, without IPv6) */
    bool from_command; /* came from --listen */
    enum tf_config_protocol protocol;
    enum tf_config_domain domain;
    uint32_t max_connections; /* TF_CONFIG_UNLIMITED: only the broker's own limit */
    uint8_t max_qos;
    uint16_t max_topic_alias; /* that a client may set; 0: none */
    uint8_t durability;       /* enum tf_config_durability, of what comes by it */
    struct tf_config_access access;

    /* of protocol coap */
    uint32_t coap_ack_timeout_ms; /* ACK_TIMEOUT and so on: RFC 7252 4.8 */
    uint8_t coap_max_retransmit;
    uint16_t coap_nstart;
    uint32_t coap_max_observers; /* of the listener, in all shards together */
    bool coap_notify_con;        /* observers are told by confirmable messages only */
    bool coap_multicast;         /* hear the groups of All CoAP Nodes */

    /* of protocol amqp, each of one connection */
    uint32_t amqp_max_frame_size; /* inbound */
    uint32_t amqp_max_sessions;
    uint32_t amqp_max_links;      /* in all its sessions together */
    uint32_t amqp_max_unsettled;  /* deliveries of a session, in each direction */
    uint32_t amqp_idle_timeout_s; /* a peer silent for so long is gone; 0: never */
};

/* What a full queue does with one message more. */
enum tf_config_overflow {
    TF_CONFIG_OVERFLOW_REFUSE,   /* its producer is told; what comes by a binding is dropped */
    TF_CONFIG_OVERFLOW_DROP_OLD, /* the oldest that wait make room */
    TF_CONFIG_OVERFLOW_DROP_NEW  /* it is dropped, or goes to the dead-letter address */
};

/* One queue. After tf_config_finish all fields are what holds for it. */
struct tf_config_queue {
    char *name;
    char **binds; /* filters that it is bound to */
    size_t bind_count;
    char *dead_letter;      /* an address; NULL: none */
    uint32_t message_ttl_s; /* 0: none */
    uint32_t max_messages;
    uint64_t max_bytes;
    uint32_t max_attempts; /* 0: any */
    uint8_t overflow;      /* enum tf_config_overflow */
    uint8_t durability;    /* enum tf_config_durability */
    bool durable;          /* said in another way: false is `memory` */
};

/* The addresses that a filter matches. */
struct tf_config_address {
    char *filter;
    uint8_t durability; /* enum tf_config_durability, of what is published there: at most */
};

/*
 * The whole. Strings are its own, NULL: not set. Times in seconds. Limits have no special zero:
 * "no limit" is TF_CONFIG_UNLIMITED or TF_CONFIG_UNLIMITED64.
 */
struct tf_config {
    struct tf_config_listener *listeners;
    size_t listener_count;
    struct tf_config_queue *queues; /* sorted by name after tf_config_finish */
    size_t queue_count;
    char **topics; /* filters of addresses that AMQP never takes for a queue's name */
    size_t topic_count;
    struct tf_config_address *addresses;
    size_t address_count;
    struct tf_config_access access; /* of all listeners, unless per_listener_settings */
    bool per_listener_settings;

    /* the process */
    uint32_t shards; /* 0: one for each core */
    char *user;      /* whom to become when started as root */
    char *pid_file;

    /* the store */
    char *data;                 /* its folder; NULL after tf_config_finish: all is in memory */
    char *data_default;         /* not of a file: the folder if persistence names none */
    bool memory;                /* not of a file: whatever it says, all is in memory */
    bool persistence;           /* mosquitto's way to ask for a folder, */
    char *persistence_location; /* and to name it */
    uint8_t durability;         /* enum tf_config_durability, of what says nothing else */
    uint64_t store_segment_size;
    uint64_t store_soft_limit; /* bytes of all files; TF_CONFIG_UNLIMITED64: none */
    uint64_t store_limit;
    uint64_t store_snapshot_interval;

    /* connections */
    uint32_t global_max_connections;
    uint32_t connect_timeout_s;
    uint32_t connect_max_bytes;  /* before CONNECT is complete */
    uint16_t max_keepalive_s;    /* 3.1.1 clients keep theirs, 5.0 clients are told */
    uint32_t max_packet_size;    /* inbound, the whole packet */
    uint32_t message_size_limit; /* payload of a PUBLISH; TF_CONFIG_UNLIMITED: max_packet_size */
    uint16_t max_topic_levels;
    char *clientid_prefixes; /* what a client id must begin with */

    /* sessions */
    uint16_t max_inflight_messages;
    uint32_t max_queued_messages;
    uint64_t max_queued_bytes;
    bool queue_qos0_messages;  /* for a session that is away */
    bool upgrade_outgoing_qos; /* deliver by the subscription's QoS even if published lower */
    uint32_t max_sessions;
    uint32_t max_subscriptions;              /* of a session */
    uint32_t persistent_client_expiration_s; /* TF_CONFIG_UNLIMITED: never */

    /* values and memory */
    bool retain_available;
    uint32_t max_retained_messages;
    uint64_t max_retained_bytes;
    uint64_t memory_limit; /* of the heap that shards use, in all */

    /* queues */
    uint32_t queue_idle_timeout_s; /* of one that a client declared by using its name */
    uint32_t max_queues;           /* in all shards together */
    uint32_t queue_default_max_messages;
    uint64_t queue_default_max_bytes;

    /* CoAP, of all listeners and shards together */
    uint32_t coap_max_peers;
    uint32_t coap_max_replies;    /* kept for requests that come twice */
    uint32_t coap_max_bodies;     /* on their way in blocks */
    uint64_t coap_max_body_bytes; /* of them all */

    /* what it tells */
    uint16_t sys_interval_s; /* 0: no $SYS */
    unsigned log_dests;
    unsigned log_types;
    char *log_file; /* for TF_CONFIG_LOG_TO_FILE */
    bool log_timestamp;
    char *log_timestamp_format; /* of strftime; NULL: 2026-11-20T10:00:00.000Z */
    bool connection_messages;

    /* which keys were said, by their place in the table: for tf_config_check */
    uint8_t given[TF_CONFIG_KEY_MAX / 8];
};

/* What a protocol is to those who need not speak it. */
struct tf_config_protocol_info {
    const char *name; /* in a `protocol` line, and the scheme of its URLs */
    uint16_t port;    /* where a URL names none */
    bool datagrams;   /* it takes datagram sockets, one a shard, not connections */
};

/* The facts of a protocol. */
const struct tf_config_protocol_info *tf_config_protocol_info(enum tf_config_protocol protocol);

/* ---- reading files ---- */

/*
 * How files are read, so that tests need no disk. `read` gives the whole file in malloc memory, at
 * most TF_CONFIG_FILE_MAX bytes: TF_NOT_FOUND, TF_LIMIT (too long), TF_IO (errno says why),
 * TF_NO_MEMORY. `list` calls `each` with every name in a folder, in any order, until that returns
 * an error, which it passes on: TF_NOT_FOUND, TF_IO.
 */
struct tf_config_io {
    void *context;
    enum tf_err (*read)(void *context, const char *path, char **ret_text, size_t *ret_length);
    enum tf_err (*list)(void *context, const char *path,
                        enum tf_err (*each)(void *each_context, const char *name),
                        void *each_context);
};

/* The one that reads real files. */
const struct tf_config_io *tf_config_io_files(void);

/* ---- the steps ---- */

/* All defaults, no listener. Allocates nothing. */
void tf_config_init_default(struct tf_config *config);

/* Frees what a configuration holds; it must be initialised again before use. */
void tf_config_release(struct tf_config *config);

/*
 * Reads the file at `path`, and what it includes, over `config`. On any error `config` is as it
 * was and the report says why: TF_PROTOCOL (the file is not right: mend it), TF_IO or TF_NOT_FOUND
 * (it cannot be read), TF_NO_MEMORY. Warnings do not fail. `config` must not be finished.
 */
enum tf_err tf_config_parse_file(struct tf_config *config, const char *path,
                                 const struct tf_config_io *io,
                                 struct tf_config_report *report) TF_MUST_USE;

/* The same from `length` bytes of text; `name` stands for the file in findings. */
enum tf_err tf_config_parse_text(struct tf_config *config, const char *name, const char *text,
                                 size_t length, const struct tf_config_io *io,
                                 struct tf_config_report *report) TF_MUST_USE;

/*
 * Sets one global key as a line of a file would, e.g. ("shards", "3", "--shards"); `origin` stands
 * for the file in findings. TF_PROTOCOL: unknown key, not a global one, or a bad value;
 * TF_NO_MEMORY.
 */
enum tf_err tf_config_set(struct tf_config *config, const char *key, const char *value,
                          const char *origin, struct tf_config_report *report) TF_MUST_USE;

/*
 * Adds the listener of `--listen URL`: mqtt://host[:port], likewise coap and amqp, an IPv6 host in
 * brackets, an empty host or `*` for all interfaces, the protocol's port (1883, 5683, 5672) unless
 * given, port 0 for a free one. TF_PROTOCOL: not such a URL; TF_UNSUPPORTED: a scheme of Trefoil's
 * that this version does not serve; TF_LIMIT: too many listeners; TF_NO_MEMORY. The report says
 * more.
 */
enum tf_err tf_config_add_url(struct tf_config *config, const char *url,
                              struct tf_config_report *report) TF_MUST_USE;

/*
 * Completes the listeners: without any, MQTT, CoAP and AMQP on 127.0.0.1 and [::1], ports 1883,
 * 5683 and 5672, anonymous allowed; and gives each its access settings. Anonymous, if nothing was
 * said, is allowed on listeners of the command line that are bound to a loopback address, and
 * refused on all others, as mosquitto does. Decides where the store is, and how safe each queue is
 * kept and each listener keeps what it gets. Call it once, after all sources. TF_NOT_FOUND: data is
 * to be kept and nothing says where, which the report tells; TF_NO_MEMORY: `config` can only be
 * released.
 */
enum tf_err tf_config_finish(struct tf_config *config, struct tf_config_report *report) TF_MUST_USE;

/* The queue of this name in a finished configuration; NULL: there is none. */
const struct tf_config_queue *tf_config_queue_find(const struct tf_config *config, const char *name,
                                                   size_t length);

/*
 * For --check: names each default in force that loses data and each limit that is unlimited, and
 * says when no client could connect. `config` is finished. What the file had that Trefoil does not
 * do is in the report already, since parsing.
 */
void tf_config_check(const struct tf_config *config, struct tf_config_report *report);

/* ---- reload ---- */

/* One difference between two configurations. */
struct tf_config_change {
    const char *key;   /* static; "listener" for one that came, went or differs in itself */
    bool reloadable;   /* false: takes a restart */
    char old_text[80]; /* cut where longer; "(secret)" for secrets; "" where there was none */
    char new_text[80];
};

/*
 * What differs between two finished configurations, at most `capacity` of it into `ret_changes`.
 * Returns how many differences there are, which may be more.
 */
size_t tf_config_diff(const struct tf_config *running, const struct tf_config *fresh,
                      struct tf_config_change *ret_changes, size_t capacity);

/*
 * Makes `fresh` what a reload can really bring about: all that is not reloadable is taken from
 * `running`, the listeners included; of those only the reloadable options are taken from `fresh`.
 * Both are finished. TF_NO_MEMORY: `fresh` can only be released, `running` stays in force.
 */
enum tf_err tf_config_keep(struct tf_config *fresh, const struct tf_config *running) TF_MUST_USE;

/* ---- the manual ---- */

enum tf_config_manual_form {
    TF_CONFIG_MANUAL_TEXT,    /* for a terminal */
    TF_CONFIG_MANUAL_ROFF,    /* trefoil.conf(5), man(7) macros */
    TF_CONFIG_MANUAL_MARKDOWN /* the tables of docs/configuration.md */
};

/* Writes the whole table of keys to `out`. TF_IO: `out` has failed. */
enum tf_err tf_config_manual(FILE *out, enum tf_config_manual_form form) TF_MUST_USE;

#endif
