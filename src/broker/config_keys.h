/*
 * The table of configuration keys, and values by their row of it.
 *
 * Private to src/broker/config*.c. Everything that is said about a key anywhere (its default in the
 * program, its range in an error, its line in the manual) comes from its one row, so they cannot
 * disagree. Rows of kind NUMBER, BOOL, TEXT, DURATION and CHOICE name the field they are stored in;
 * the other kinds are lines with a meaning of their own, which config_apply.c knows.
 */
#ifndef TF_BROKER_CONFIG_KEYS_H
#define TF_BROKER_CONFIG_KEYS_H

#include "broker/config.h"

enum tf_config_kind {
    TF_CONFIG_KIND_NUMBER,
    TF_CONFIG_KIND_BOOL,
    TF_CONFIG_KIND_TEXT,
    TF_CONFIG_KIND_DURATION, /* 12h, 3d, 2w, 6m, 1y; stored in seconds */
    TF_CONFIG_KIND_CHOICE,   /* one of the words in `words`; stored as its place there */
    TF_CONFIG_KIND_LISTENER, /* from here on: lines with a meaning of their own */
    TF_CONFIG_KIND_PORT,
    TF_CONFIG_KIND_BIND_ADDRESS,
    TF_CONFIG_KIND_PROTOCOL,
    TF_CONFIG_KIND_LOG_DEST,
    TF_CONFIG_KIND_LOG_TYPE,
    TF_CONFIG_KIND_INCLUDE_DIR,
    TF_CONFIG_KIND_QUEUE,
    TF_CONFIG_KIND_QUEUE_BIND,
    TF_CONFIG_KIND_TOPIC,
    TF_CONFIG_KIND_ADDRESS,
    TF_CONFIG_KIND_DURABILITY, /* a choice: of all, or of the last `listener` */
    TF_CONFIG_KIND_ANY         /* keys that are not done: the value is not looked at */
};

/* What a key belongs to, hence in which struct its field lies. */
enum tf_config_scope {
    TF_CONFIG_SCOPE_GLOBAL,   /* struct tf_config */
    TF_CONFIG_SCOPE_LISTENER, /* struct tf_config_listener: of the last `listener` line */
    TF_CONFIG_SCOPE_QUEUE,    /* struct tf_config_queue: of the last `queue` line */
    TF_CONFIG_SCOPE_ADDRESS,  /* struct tf_config_address: of the last `address` line */
    TF_CONFIG_SCOPE_ACCESS /* struct tf_config_access: global, or as per_listener_settings says */
};

/* What Trefoil answers to a key. */
enum tf_config_answer {
    TF_CONFIG_DONE,
    TF_CONFIG_MEANINGLESS, /* needs nothing done here: a note */
    TF_CONFIG_MISSING,     /* not done here, and the broker starts without it: a warning */
    TF_CONFIG_REFUSED      /* not done here, and going on would be unsafe: an error */
};

/* The part of the manual that a key stands in. */
enum tf_config_group {
    TF_CONFIG_GROUP_PROCESS,
    TF_CONFIG_GROUP_STORE,
    TF_CONFIG_GROUP_LISTENER,
    TF_CONFIG_GROUP_ACCESS,
    TF_CONFIG_GROUP_CONNECTION,
    TF_CONFIG_GROUP_SESSION,
    TF_CONFIG_GROUP_QUEUE,
    TF_CONFIG_GROUP_COAP,
    TF_CONFIG_GROUP_AMQP,
    TF_CONFIG_GROUP_NAMED,
    TF_CONFIG_GROUP_LOG,
    TF_CONFIG_GROUP_MEANINGLESS,
    TF_CONFIG_GROUP_BRIDGE,
    TF_CONFIG_GROUP_MISSING,
    TF_CONFIG_GROUP_SECURITY,
    TF_CONFIG_GROUP_COUNT
};

enum tf_config_key_flag {
    TF_CONFIG_RELOADABLE = 1,  /* SIGHUP can change it */
    TF_CONFIG_SECRET = 2,      /* its value is never shown */
    TF_CONFIG_OWN = 4,         /* Trefoil's, not mosquitto's */
    TF_CONFIG_ZERO_NONE = 8,   /* 0 means no limit; stored as the greatest value of the field */
    TF_CONFIG_MINUS_NONE = 16, /* so does -1 */
    TF_CONFIG_MANY = 32,       /* may be said several times */
    TF_CONFIG_OPENS = 64,      /* said before any `listener`, it opens the default listener */
    TF_CONFIG_ALIAS = 128      /* another name for the field of the row before it */
};

/* One row. What is 0 or NULL was left out: no unit, no loss, no words. */
struct tf_config_key {
    const char *name;  /* a last `*` stands for any rest */
    const char *help;  /* what it does; for keys not done: why not, and what to do */
    const char *unit;  /* of a number: "bytes", "seconds" */
    const char *words; /* of a choice: the words with a space between; of others: how to write it */
    const char *text;  /* default of a kind without a number, for the manual */
    const char *loss;  /* what the default loses: for --check */
    const char *harmless; /* a value of a key that is not done which asks for nothing */
    uint64_t initial;
    uint64_t least;
    uint64_t most; /* of a text: its bytes; 0: what a line holds */
    enum tf_config_kind kind;
    enum tf_config_scope scope;
    enum tf_config_answer answer;
    enum tf_config_group group;
    unsigned flags;
    unsigned protocols; /* bits, 1 << enum tf_config_protocol, of listeners that have it; 0: all */
    unsigned offset;    /* of the field, in the struct of its scope */
    unsigned width;     /* of the field: 1, 2, 4 or 8 bytes for numbers */
};

/* A piece of text of somebody else's; no NUL at its end. */
struct tf_config_text {
    const char *data;
    size_t length;
};

/* The table, in the order of the manual (config_keys.c). */
extern const struct tf_config_key tf_config_keys[];
extern const size_t tf_config_key_count;

/* The path that `log_dest file` stores beside its own field: not a key, but a field to be copied.
 */
extern const struct tf_config_key tf_config_log_file;

/* ---- the table, searched (config_find.c) ---- */

/* The title of a group, for the manual. */
const char *tf_config_group_title(enum tf_config_group group);

/* The row of a key by its name as a file has it; NULL: there is none. */
const struct tf_config_key *tf_config_key_find(struct tf_config_text name);

/*
 * The row whose name is nearest to `name`: fewest letters inserted, left out, replaced or swapped.
 * `ret_close` says whether it is near enough to be meant. Never NULL.
 */
const struct tf_config_key *tf_config_key_nearest(struct tf_config_text name, bool *ret_close);

/* The place of a row in the table: its bit in tf_config.given. */
static inline size_t tf_config_key_index(const struct tf_config_key *key)
{
    return (size_t)(key - tf_config_keys);
}

/* True if a key was said by a file or by the command line. `key` NULL: false. */
bool tf_config_key_given(const struct tf_config *config, const struct tf_config_key *key);

/* ---- values (config_value.c) ---- */

#define TF_CONFIG_WHY_MAX 200

/*
 * Reads `value` as the kind of `key` wants it, into the field of `base` (the struct of its scope).
 * TF_PROTOCOL: it is not such a value, `ret_why` says so in at most TF_CONFIG_WHY_MAX bytes;
 * TF_NO_MEMORY. The field is untouched on failure.
 */
enum tf_err tf_config_value_parse(const struct tf_config_key *key, struct tf_config_text value,
                                  void *base, char *ret_why) TF_MUST_USE;

/* Stores the default of every row of `scope` into `base`. Texts become NULL. */
void tf_config_value_defaults(enum tf_config_scope scope, void *base);

/* The number in the field of `key`, for kinds NUMBER, BOOL, DURATION and CHOICE. */
uint64_t tf_config_value_number(const struct tf_config_key *key, const void *base);

/* Writes the value as a file would have it, cut to `size`. Secrets too: the caller minds. */
void tf_config_value_print(const struct tf_config_key *key, const void *base, char *ret_text,
                           size_t size);

/* True if both structs hold the same value of `key`. */
bool tf_config_value_equal(const struct tf_config_key *key, const void *a, const void *b);

/* Copies the value of `key`, a text into memory of its own. TF_NO_MEMORY: `to` is untouched. */
enum tf_err tf_config_value_copy(const struct tf_config_key *key, const void *from,
                                 void *to) TF_MUST_USE;

/* The number that `text` is, all of it, at most `most`; TF_PROTOCOL: it is none, TF_LIMIT: over. */
enum tf_err tf_config_number(struct tf_config_text text, uint64_t most,
                             uint64_t *ret_number) TF_MUST_USE;

/* True if `text` is `word`, letter by letter. */
bool tf_config_text_is(struct tf_config_text text, const char *word);

/* A copy of `text` with a NUL; NULL: no memory. */
char *tf_config_text_copy(struct tf_config_text text);

/* Writes `text` fit to be shown: cut to `size`, what is not printable as `?`. Returns `ret_shown`.
 */
const char *tf_config_text_show(struct tf_config_text text, char *ret_shown, size_t size);

/* ---- structs (config_value.c) ---- */

/* A listener with all defaults, for MQTT. */
void tf_config_listener_init(struct tf_config_listener *listener);

/* Frees what a listener holds. */
void tf_config_listener_release(struct tf_config_listener *listener);

/*
 * Adds a listener, taking over what it holds. TF_LIMIT: there are TF_CONFIG_LISTENER_MAX;
 * TF_NO_MEMORY. On failure the listener stays the caller's.
 */
enum tf_err tf_config_listener_add(struct tf_config *config,
                                   const struct tf_config_listener *listener) TF_MUST_USE;

/* A deep copy. TF_NO_MEMORY: `ret` is untouched. */
enum tf_err tf_config_clone(struct tf_config *ret, const struct tf_config *config) TF_MUST_USE;

/* A deep copy of a listener. TF_NO_MEMORY: `ret` is untouched. */
enum tf_err tf_config_listener_clone(struct tf_config_listener *ret,
                                     const struct tf_config_listener *listener) TF_MUST_USE;

/* The settings of who may connect, copied over others. TF_NO_MEMORY: `to` is untouched. */
enum tf_err tf_config_access_copy(struct tf_config_access *to,
                                  const struct tf_config_access *from) TF_MUST_USE;

/* ---- queues (config_queue.c) ---- */

/* Frees what the queues and topics of a configuration hold. */
void tf_config_queues_release(struct tf_config *config);

/* Copies queues and topics into `to`, which has none. TF_NO_MEMORY: `to` is to be released. */
enum tf_err tf_config_queues_clone(struct tf_config *to, const struct tf_config *from) TF_MUST_USE;

/* Adds a queue with all defaults. TF_EXISTS: there is one of that name; TF_LIMIT: there are
 * TF_CONFIG_QUEUE_MAX; TF_NO_MEMORY. */
enum tf_err tf_config_queue_add(struct tf_config *config, struct tf_config_text name) TF_MUST_USE;

/* Appends a copy of a text to a list. TF_LIMIT: it has TF_CONFIG_TOPIC_MAX; TF_NO_MEMORY. */
enum tf_err tf_config_texts_add(char ***items, size_t *count,
                                struct tf_config_text text) TF_MUST_USE;

/* Sorts the queues by name, bytewise, and gives each what holds for it. */
void tf_config_queues_finish(struct tf_config *config);

/* True if both lists hold the same texts in the same order. */
bool tf_config_texts_equal(char *const *a, size_t a_count, char *const *b, size_t b_count);

/* ---- the store (config_store.c) ---- */

/* Frees what the address blocks of a configuration hold. */
void tf_config_addresses_release(struct tf_config *config);

/* Copies them into `to`, which has none. TF_NO_MEMORY: `to` is to be released. */
enum tf_err tf_config_addresses_clone(struct tf_config *to,
                                      const struct tf_config *from) TF_MUST_USE;

/* Adds a block with all defaults. TF_EXISTS: there is one of that filter; TF_LIMIT: there are
 * TF_CONFIG_ADDRESS_MAX; TF_NO_MEMORY. */
enum tf_err tf_config_address_add(struct tf_config *config,
                                  struct tf_config_text filter) TF_MUST_USE;

/* True if both have the same blocks in the same order. */
bool tf_config_addresses_equal(const struct tf_config *a, const struct tf_config *b);

/* Decides where the store is, and the durability of whatever inherits it. TF_NOT_FOUND: there is no
 * place, which the report says; TF_NO_MEMORY. */
enum tf_err tf_config_store_finish(struct tf_config *config,
                                   struct tf_config_report *report) TF_MUST_USE;

/* For --check: what a restart loses. */
void tf_config_store_check(const struct tf_config *config, struct tf_config_report *report);

/* ---- protocols and hosts (config_listen.c) ---- */

/* The protocol of this name; TF_CONFIG_PROTOCOL_COUNT: none is. */
enum tf_config_protocol tf_config_protocol_find(struct tf_config_text name);

/*
 * Reads `[host]` in brackets or `host`, a name or a number, into malloc memory; "" and `*` give
 * NULL. TF_PROTOCOL: it is no host; TF_NO_MEMORY.
 */
enum tf_err tf_config_host_parse(struct tf_config_text text, char **ret_host) TF_MUST_USE;

/* ---- reports (config_report.c) ---- */

/* Where a finding is. `file` NULL, `line` or `column` 0: not known. */
struct tf_config_place {
    const char *file;
    unsigned line;
    unsigned column;
};

/* Adds a finding, its text cut to 600 bytes; drops and counts it when there are too many or no
 * memory. */
void tf_config_report_add(struct tf_config_report *report, enum tf_config_severity severity,
                          struct tf_config_place place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* True if an error has been found since `report->errors` was `before`. */
static inline bool tf_config_report_worse(const struct tf_config_report *report, size_t before)
{
    return report->errors > before;
}

/* ---- lines (config_apply.c) ---- */

/* What a file is being read into. */
struct tf_config_build {
    struct tf_config *config;
    struct tf_config_report *report;
    const struct tf_config_io *io;   /* NULL: include_dir is refused */
    struct tf_config_listener plain; /* the default listener: options before any `listener` */
    bool plain_bound;                /* `port` or `bind_address` was said */
    bool plain_port;                 /* `port` was */
    size_t current;                  /* 0: options go to `plain`; else to listener `current` - 1 */
    size_t queue;                    /* 0: in no queue's block; else in that of queue `queue` - 1 */
    size_t address;                  /* likewise of address blocks */
    bool bridge;                     /* after a `connection` line: mosquitto's, of a bridge */
    struct tf_config_place place;    /* of the line at hand; its column is the key's */
    unsigned value_column;
    size_t included;                     /* files read through include_dir */
    size_t included_bytes;               /* bytes in them */
    bool nested;                         /* in a file of include_dir */
    bool access_said;                    /* an access key came: per_listener_settings is too late */
    const struct tf_config_key *opener;  /* the first option that opens the default listener */
    uint8_t said[TF_CONFIG_KEY_MAX / 8]; /* keys of this file, or of the section, to find repeats */
    unsigned said_line[TF_CONFIG_KEY_MAX]; /* the line of each of them */
};

/*
 * Carries out one line. Everything wrong with it goes to the report. TF_NO_MEMORY: stop reading.
 * include_dir is left to the caller: `*ret_include` is then its value, else NULL.
 */
enum tf_err tf_config_apply(struct tf_config_build *build, struct tf_config_text name,
                            struct tf_config_text value,
                            struct tf_config_text *ret_include) TF_MUST_USE;

/*
 * A new section begins: warns of what its listener's protocol has no use for in the one that ends,
 * and forgets which keys of listeners were said.
 */
void tf_config_apply_section(struct tf_config_build *build);

/* After the last line of all files: opens the default listener if it is wanted. TF_NO_MEMORY. */
enum tf_err tf_config_apply_end(struct tf_config_build *build) TF_MUST_USE;

#endif
