/*
 * The table of configuration keys: Trefoil's, and all of mosquitto 2.0 with what Trefoil answers.
 *
 * Why one table: parser, defaults, --check, manual and "did you mean" are made from it, so adding a
 * key is adding a row. It must not know how lines are read or who uses a value.
 */
#include "broker/config_keys.h"

#include <string.h>

#include "route/mailbox.h"
#include "route/table.h"

#define GLOBAL_(field)                                                            \
    .scope = TF_CONFIG_SCOPE_GLOBAL, .offset = offsetof(struct tf_config, field), \
    .width = sizeof(((struct tf_config *)0)->field)
#define LISTENER_(field)                                                                     \
    .scope = TF_CONFIG_SCOPE_LISTENER, .offset = offsetof(struct tf_config_listener, field), \
    .width = sizeof(((struct tf_config_listener *)0)->field)
#define ACCESS_(field)                                                                   \
    .scope = TF_CONFIG_SCOPE_ACCESS, .offset = offsetof(struct tf_config_access, field), \
    .width = sizeof(((struct tf_config_access *)0)->field)

#define NUMBER_(from, to, preset) \
    .kind = TF_CONFIG_KIND_NUMBER, .least = (from), .most = (to), .initial = (preset)
#define BOOL_(preset) .kind = TF_CONFIG_KIND_BOOL, .initial = (preset)
#define TEXT_(how) .kind = TF_CONFIG_KIND_TEXT, .words = (how)
#define LINE_(what, how) .kind = TF_CONFIG_KIND_##what, .words = (how)

#define PROCESS_ .group = TF_CONFIG_GROUP_PROCESS
#define LISTEN_ .group = TF_CONFIG_GROUP_LISTENER
#define ADMIT_ .group = TF_CONFIG_GROUP_ACCESS, .flags = TF_CONFIG_RELOADABLE
#define CONN_ .group = TF_CONFIG_GROUP_CONNECTION
#define SESSION_ .group = TF_CONFIG_GROUP_SESSION
#define QUEUE_ .group = TF_CONFIG_GROUP_QUEUE
#define COAP_ .group = TF_CONFIG_GROUP_COAP
#define MQTT_ONLY_ .protocols = 1u << TF_CONFIG_PROTOCOL_MQTT
#define COAP_ONLY_ .protocols = 1u << TF_CONFIG_PROTOCOL_COAP
#define LOG_ .group = TF_CONFIG_GROUP_LOG

/* A key that is not done, and why. */
#define NOT_(key, reply, part, why)                                                        \
    .name = (key), .help = (why), .kind = TF_CONFIG_KIND_ANY, .answer = TF_CONFIG_##reply, \
    .group = TF_CONFIG_GROUP_##part, .flags = TF_CONFIG_MANY
#define BRIDGE_(key) NOT_(key, MISSING, BRIDGE, NO_BRIDGE)
#define SECURITY_(key, why) NOT_(key, REFUSED, SECURITY, why)

#define NO_BRIDGE \
    "bridges are not available in this version: no connection to another broker is made"
#define NO_TLS                                                                                    \
    "TLS is not available in this version, and going on would serve this listener in the clear; " \
    "let a TLS proxy stand before a loopback listener"
#define NO_IDENTITY \
    "TLS is not available in this version, so no certificate gives a client its name"
#define NO_PSK "pre-shared keys are not available in this version"
#define NO_PASSWORDS                                                                            \
    "password files are not available in this version, and going on would check nobody; for a " \
    "broker without passwords say `allow_anonymous true`"
#define NO_RIGHTS                                                                              \
    "access control is not available in this version, and going on would let every client at " \
    "every topic"
#define NO_PLUGIN "plug-ins are not loaded: Trefoil has none of mosquitto's plug-in interface"
#define NO_DATABASE "there is no mosquitto.db to save: the store of this version is memory"
#define NO_WEBSOCKETS "WebSockets are not available in this version"

const struct tf_config_key tf_config_keys[] = {
    /* ---- the process ---- */
    {.name = "shards",
     GLOBAL_(shards),
     NUMBER_(0, TF_SHARDS_MAX, 0),
     PROCESS_,
     .flags = TF_CONFIG_OWN,
     .unit = "threads",
     .help = "How many threads serve connections, each with its own. 0: one for each core."},
    {.name = "user",
     GLOBAL_(user),
     TEXT_("name"),
     PROCESS_,
     .text = "none",
     .help = "Whom to become after the listeners are bound, when started as root. Without it "
             "Trefoil stays who it is (mosquitto becomes `mosquitto` or `nobody`)."},
    {.name = "pid_file",
     GLOBAL_(pid_file),
     TEXT_("path"),
     PROCESS_,
     .text = "none",
     .help = "Where to write the process id. It is an error if that cannot be written."},
    {.name = "include_dir",
     LINE_(INCLUDE_DIR, "path"),
     PROCESS_,
     .flags = TF_CONFIG_MANY,
     .text = "none",
     .help = "Reads all *.conf of this folder here, sorted by letter, upper case before lower. "
             "Only the main file may say it. Each file begins outside any listener."},
    {.name = "persistence",
     GLOBAL_(persistence),
     BOOL_(0),
     PROCESS_,
     .loss = "the store of this version is memory: sessions, queued and retained messages are "
             "lost when the broker ends",
     .help = "Asks for storage on disk. The store of this version is memory, whatever is said."},
    {.name = "retained_persistence",
     GLOBAL_(persistence),
     BOOL_(0),
     PROCESS_,
     .flags = TF_CONFIG_ALIAS,
     .help = "Old name of persistence."},

    /* ---- listeners ---- */
    {.name = "listener",
     LINE_(LISTENER, "port [host]"),
     LISTEN_,
     .flags = TF_CONFIG_MANY,
     .text = "1883 (MQTT) and 5683 (CoAP) on loopback",
     .help = "Listens on a port, on one address or name or on all interfaces. Options of a "
             "listener after this line belong to it. Port 0 takes a free one. Without any listener "
             "Trefoil listens on loopback only, for MQTT on port 1883 and for CoAP on port 5683."},
    {.name = "port",
     LINE_(PORT, "port"),
     LISTEN_,
     .text = "none",
     .help = "Old form: opens the default listener on this port. Use `listener`."},
    {.name = "bind_address",
     LINE_(BIND_ADDRESS, "host"),
     LISTEN_,
     .text = "all",
     .help = "Old form: opens the default listener on this address. Use `listener port host`."},
    {.name = "protocol",
     LISTENER_(protocol),
     LINE_(PROTOCOL, "mqtt | coap"),
     LISTEN_,
     .text = "mqtt",
     .help = "What is spoken on this listener: mqtt over TCP, or coap over UDP (Trefoil's own). "
             "Known but not available in this version: websockets, coaps, coap+tcp, amqp, http."},
    {.name = "socket_domain",
     LISTENER_(domain),
     .kind = TF_CONFIG_KIND_CHOICE,
     LISTEN_,
     .words = "any ipv4 ipv6",
     .flags = TF_CONFIG_OPENS,
     .initial = TF_CONFIG_DOMAIN_ANY,
     .help = "Listens with one version of IP only."},
    {.name = "max_connections",
     LISTENER_(max_connections),
     NUMBER_(1, TF_CONFIG_UNLIMITED - 1, TF_CONFIG_UNLIMITED),
     LISTEN_,
     MQTT_ONLY_,
     .flags = TF_CONFIG_ZERO_NONE | TF_CONFIG_MINUS_NONE | TF_CONFIG_OPENS,
     .unit = "connections",
     .help = "Connections of this listener at one time. -1: only global_max_connections counts."},
    {.name = "max_qos",
     LISTENER_(max_qos),
     NUMBER_(0, 2, 2),
     LISTEN_,
     MQTT_ONLY_,
     .flags = TF_CONFIG_OPENS,
     .help = "The highest QoS that clients of this listener may use."},
    {.name = "maximum_qos",
     LISTENER_(max_qos),
     NUMBER_(0, 2, 2),
     LISTEN_,
     MQTT_ONLY_,
     .flags = TF_CONFIG_OPENS | TF_CONFIG_ALIAS,
     .help = "Old name of max_qos."},
    {.name = "max_topic_alias",
     LISTENER_(max_topic_alias),
     NUMBER_(0, 65535, 10),
     LISTEN_,
     MQTT_ONLY_,
     .help = "Topic aliases that an MQTT 5.0 client may set. 0: none."},

    /* ---- who may connect ---- */
    {.name = "per_listener_settings",
     GLOBAL_(per_listener_settings),
     BOOL_(0),
     .group = TF_CONFIG_GROUP_ACCESS,
     .help = "The keys of this section then belong to the listener they stand under. Say it before "
             "them."},
    {.name = "allow_anonymous",
     ACCESS_(allow_anonymous),
     BOOL_(0),
     ADMIT_,
     .text = "false; true on loopback by default",
     .help = "Lets clients in without a password. This version has no passwords: with true any "
             "client is let in whatever it sends, with false none is. The default is false as soon "
             "as a listener is configured."},
    {.name = "allow_zero_length_clientid",
     ACCESS_(allow_zero_length_clientid),
     BOOL_(1),
     ADMIT_,
     .help = "Makes a client id for clients that send an empty one."},
    {.name = "auto_id_prefix",
     ACCESS_(auto_id_prefix),
     TEXT_("text"),
     .most = 64,
     ADMIT_,
     .text = "auto-",
     .help = "What the client ids that Trefoil makes begin with, at most 64 bytes."},
    {.name = "clientid_prefixes",
     GLOBAL_(clientid_prefixes),
     TEXT_("text"),
     ADMIT_,
     .text = "none",
     .help = "Refuses clients whose client id does not begin with this."},

    /* ---- connections and packets ---- */
    {.name = "global_max_connections",
     GLOBAL_(global_max_connections),
     NUMBER_(1, 10000000, 100000),
     CONN_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_OWN,
     .unit = "connections",
     .help = "Connections of all listeners at one time."},
    {.name = "connect_timeout",
     GLOBAL_(connect_timeout_s),
     NUMBER_(1, 3600, 10),
     CONN_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_OWN,
     .unit = "seconds",
     .help = "Time from the connection to a complete CONNECT."},
    {.name = "connect_max_bytes",
     GLOBAL_(connect_max_bytes),
     NUMBER_(1024, 1048576, 65536),
     CONN_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_OWN,
     .unit = "bytes",
     .help = "The largest CONNECT, and all that is kept for a client before it is known."},
    {.name = "max_packet_size",
     GLOBAL_(max_packet_size),
     NUMBER_(20, 268435456, 1048576),
     CONN_,
     .flags = TF_CONFIG_RELOADABLE,
     .unit = "bytes",
     .loss = "a client that sends a larger packet is disconnected (mosquitto has no limit unless "
             "one is set)",
     .help = "The largest packet that is taken from a client."},
    {.name = "message_size_limit",
     GLOBAL_(message_size_limit),
     NUMBER_(1, 268435455, TF_CONFIG_UNLIMITED),
     CONN_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_ZERO_NONE,
     .unit = "bytes",
     .help = "The largest payload: a PUBLISH with more goes to nobody, and its sender is told. 0: "
             "max_packet_size is the only limit."},
    {.name = "max_topic_levels",
     GLOBAL_(max_topic_levels),
     NUMBER_(1, TF_LEVELS_MAX, 128),
     CONN_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_OWN,
     .unit = "levels",
     .help = "Levels of a topic name or filter."},
    {.name = "max_keepalive",
     GLOBAL_(max_keepalive_s),
     NUMBER_(10, 65535, 65535),
     CONN_,
     .flags = TF_CONFIG_RELOADABLE,
     .unit = "seconds",
     .help = "The longest keep-alive; an MQTT 5.0 client that wants more, or none, is told to use "
             "this."},

    /* ---- sessions ---- */
    {.name = "max_inflight_messages",
     GLOBAL_(max_inflight_messages),
     NUMBER_(1, 65535, 20),
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_ZERO_NONE,
     .unit = "messages",
     .help = "QoS 1 and 2 messages on their way to one client, and from one MQTT 5.0 client. 0: "
             "65,535."},
    {.name = "max_queued_messages",
     GLOBAL_(max_queued_messages),
     NUMBER_(1, TF_CONFIG_UNLIMITED - 1, 1000),
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_ZERO_NONE,
     .unit = "messages",
     .loss = "what comes to a session that has so many waiting is dropped",
     .help = "Messages that wait for one session, those in flight aside. 0: no limit."},
    {.name = "max_queued_bytes",
     GLOBAL_(max_queued_bytes),
     NUMBER_(1, TF_CONFIG_UNLIMITED64 - 1, 67108864),
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_ZERO_NONE,
     .unit = "bytes",
     .loss = "what comes to a session that has so much waiting is dropped (mosquitto has no limit "
             "unless one is set)",
     .help = "Bytes that wait for one session. 0: no limit."},
    {.name = "queue_qos0_messages",
     GLOBAL_(queue_qos0_messages),
     BOOL_(0),
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE,
     .loss = "QoS 0 messages for a session that is away are dropped, as MQTT allows",
     .help = "Queues QoS 0 messages too for a session that is away."},
    {.name = "upgrade_outgoing_qos",
     GLOBAL_(upgrade_outgoing_qos),
     BOOL_(0),
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE,
     .help =
         "Delivers by the QoS of the subscription even where the message came with a lower one. "
         "MQTT does not allow that."},
    {.name = "max_sessions",
     GLOBAL_(max_sessions),
     NUMBER_(1, 100000000, 1000000),
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_OWN,
     .unit = "sessions",
     .help =
         "Sessions in all, with a connection or without. Each shard has its part of them and an "
         "eighth more, because client ids do not spread evenly."},
    {.name = "max_subscriptions",
     GLOBAL_(max_subscriptions),
     NUMBER_(1, 1000000, 10000),
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_OWN,
     .unit = "subscriptions",
     .help = "Subscriptions of one session."},
    {.name = "persistent_client_expiration",
     GLOBAL_(persistent_client_expiration_s),
     .kind = TF_CONFIG_KIND_DURATION,
     SESSION_,
     .flags = TF_CONFIG_RELOADABLE,
     .words = "number and h, d, w, m or y",
     .initial = TF_CONFIG_UNLIMITED,
     .text = "never",
     .help = "Ends a session that nobody has come back to for this long, e.g. 14d."},

    /* ---- queues and values ---- */
    {.name = "retain_available",
     GLOBAL_(retain_available),
     BOOL_(1),
     QUEUE_,
     .flags = TF_CONFIG_RELOADABLE,
     .help = "Takes retained messages; with false a client that sends one is disconnected."},
    {.name = "max_retained_messages",
     GLOBAL_(max_retained_messages),
     NUMBER_(1, TF_CONFIG_UNLIMITED - 1, 1000000),
     QUEUE_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_ZERO_NONE | TF_CONFIG_OWN,
     .unit = "messages",
     .loss = "a retained message of one more topic is not kept (mosquitto has no limit)",
     .help = "Retained messages of all topics together. 0: no limit."},
    {.name = "max_retained_bytes",
     GLOBAL_(max_retained_bytes),
     NUMBER_(1, TF_CONFIG_UNLIMITED64 - 1, 1073741824),
     QUEUE_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_ZERO_NONE | TF_CONFIG_OWN,
     .unit = "bytes",
     .loss = "a retained message that does not fit is not kept (mosquitto has no limit)",
     .help = "Bytes of all retained messages together. 0: no limit."},
    {.name = "memory_limit",
     GLOBAL_(memory_limit),
     NUMBER_(1048576, TF_CONFIG_UNLIMITED64 - 1, TF_CONFIG_UNLIMITED64),
     QUEUE_,
     .flags = TF_CONFIG_ZERO_NONE,
     .unit = "bytes",
     .help = "Bytes of heap that sessions, queues and messages may take in all; past it what needs "
             "more is refused. 0: no limit but the ones above."},

    /* ---- CoAP: of a listener ---- */
    {.name = "coap_ack_timeout_ms",
     LISTENER_(coap_ack_timeout_ms),
     NUMBER_(1, 60000, 2000),
     COAP_,
     COAP_ONLY_,
     .flags = TF_CONFIG_OWN,
     .unit = "milliseconds",
     .help = "Of a `protocol coap` listener: the time until a confirmable message is sent again "
             "that nobody acknowledges; a random part of up to a half is added, and each time "
             "doubles it."},
    {.name = "coap_max_retransmit",
     LISTENER_(coap_max_retransmit),
     NUMBER_(0, 16, 4),
     COAP_,
     COAP_ONLY_,
     .flags = TF_CONFIG_OWN,
     .unit = "times",
     .help = "Of a `protocol coap` listener: how often a confirmable message is sent again before "
             "its peer counts as gone."},
    {.name = "coap_nstart",
     LISTENER_(coap_nstart),
     NUMBER_(1, 65535, 1),
     COAP_,
     COAP_ONLY_,
     .flags = TF_CONFIG_OWN,
     .unit = "messages",
     .help = "Of a `protocol coap` listener: confirmable messages on their way to one peer at one "
             "time."},
    {.name = "coap_max_observers",
     LISTENER_(coap_max_observers),
     NUMBER_(0, 100000000, 65536),
     COAP_,
     COAP_ONLY_,
     .flags = TF_CONFIG_OWN,
     .unit = "observers",
     .help = "Of a `protocol coap` listener: observations at one time, each of one peer and one "
             "resource, spread over the shards. A peer that wants one more gets the value without "
             "one. 0: none."},
    {.name = "coap_notify",
     LISTENER_(coap_notify_con),
     .kind = TF_CONFIG_KIND_CHOICE,
     COAP_,
     COAP_ONLY_,
     .words = "non con",
     .flags = TF_CONFIG_OWN,
     .initial = false,
     .help = "Of a `protocol coap` listener: observers are told by non-confirmable messages, with "
             "a confirmable one now and then, or by confirmable ones only."},
    {.name = "coap_multicast",
     LISTENER_(coap_multicast),
     BOOL_(0),
     COAP_,
     COAP_ONLY_,
     .flags = TF_CONFIG_OWN,
     .help = "Of a `protocol coap` listener: hears the groups of all CoAP nodes, 224.0.1.187, "
             "ff02::fd and ff05::fd, too, on each interface that has its address."},

    /* ---- CoAP: of all together ---- */
    {.name = "coap_max_peers",
     GLOBAL_(coap_max_peers),
     NUMBER_(1, 10000000, 100000),
     COAP_,
     .flags = TF_CONFIG_OWN,
     .unit = "peers",
     .help = "CoAP peers that are remembered at one time, spread over the shards; the one that was "
             "silent longest makes room."},
    {.name = "coap_max_replies",
     GLOBAL_(coap_max_replies),
     NUMBER_(1, 10000000, 65536),
     COAP_,
     .flags = TF_CONFIG_OWN,
     .unit = "replies",
     .help = "Replies to CoAP requests that change something, kept for requests that come twice, "
             "spread over the shards."},
    {.name = "coap_max_bodies",
     GLOBAL_(coap_max_bodies),
     NUMBER_(1, 1000000, 1000),
     COAP_,
     .flags = TF_CONFIG_OWN,
     .unit = "bodies",
     .help = "Bodies on their way in blocks, in both directions, spread over the shards."},
    {.name = "coap_max_body_bytes",
     GLOBAL_(coap_max_body_bytes),
     NUMBER_(1024, TF_CONFIG_UNLIMITED64 - 1, 67108864),
     COAP_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_OWN,
     .unit = "bytes",
     .help = "Bytes of all those bodies together."},

    /* ---- what it tells ---- */
    {.name = "sys_interval",
     GLOBAL_(sys_interval_s),
     NUMBER_(0, 65535, 10),
     LOG_,
     .flags = TF_CONFIG_RELOADABLE,
     .unit = "seconds",
     .help = "How often $SYS/broker/... is published. 0: never."},
    {.name = "log_dest",
     GLOBAL_(log_dests),
     LINE_(LOG_DEST, "stderr | stdout | file path | none"),
     LOG_,
     .initial = TF_CONFIG_LOG_TO_STDERR,
     .text = "stderr",
     .flags = TF_CONFIG_MANY,
     .help = "Where the log goes; one line for each place. A file is opened anew at SIGHUP. "
             "mosquitto's syslog, topic and dlt are not available: the log goes to stderr, which "
             "systemd reads."},
    {.name = "log_type",
     GLOBAL_(log_types),
     LINE_(LOG_TYPE, "error | warning | notice | information | debug | subscribe | unsubscribe | "
                     "none | all"),
     LOG_,
     .flags = TF_CONFIG_RELOADABLE | TF_CONFIG_MANY,
     .initial = TF_CONFIG_LOG_ERROR | TF_CONFIG_LOG_WARNING | TF_CONFIG_LOG_NOTICE |
                TF_CONFIG_LOG_INFORMATION,
     .text = "error, warning, notice, information",
     .help = "What is logged; one line for each kind. The first replaces the default."},
    {.name = "log_timestamp",
     GLOBAL_(log_timestamp),
     BOOL_(1),
     LOG_,
     .help = "Begins each line of the log with the time."},
    {.name = "log_timestamp_format",
     GLOBAL_(log_timestamp_format),
     TEXT_("strftime format"),
     LOG_,
     .text = "2026-11-20T10:00:00.000Z",
     .help = "How the time is written (mosquitto's default is seconds since 1970)."},
    {.name = "connection_messages",
     GLOBAL_(connection_messages),
     BOOL_(1),
     LOG_,
     .flags = TF_CONFIG_RELOADABLE,
     .help = "Logs each client that connects and disconnects."},

    /* ---- mosquitto's, with nothing to do here ---- */
    {NOT_("allow_duplicate_messages", MEANINGLESS, MEANINGLESS,
          "a client with overlapping subscriptions always gets a message once")},
    {NOT_("set_tcp_nodelay", MEANINGLESS, MEANINGLESS,
          "TCP_NODELAY is always set: Trefoil writes whole batches itself")},
    {NOT_("max_topic_alias_broker", MEANINGLESS, MEANINGLESS,
          "Trefoil sets no topic aliases towards clients")},
    {NOT_("check_retain_source", MEANINGLESS, MEANINGLESS,
          "there are no access rights in this version that a publisher could have lost")},
    {NOT_("retry_interval", MEANINGLESS, MEANINGLESS,
          "MQTT repeats messages only after a reconnect; mosquitto ignores it as well")},
    {NOT_("autosave_interval", MEANINGLESS, MEANINGLESS, NO_DATABASE)},
    {NOT_("autosave_on_changes", MEANINGLESS, MEANINGLESS, NO_DATABASE)},
    {NOT_("persistence_file", MEANINGLESS, MEANINGLESS, NO_DATABASE)},
    {NOT_("persistence_location", MEANINGLESS, MEANINGLESS, NO_DATABASE)},
    {NOT_("websockets_log_level", MEANINGLESS, MEANINGLESS, NO_WEBSOCKETS)},
    {NOT_("websockets_headers_size", MEANINGLESS, MEANINGLESS, NO_WEBSOCKETS)},

    /* ---- not done, and going on without ---- */
    {BRIDGE_("connection")},
    {BRIDGE_("address")},
    {BRIDGE_("addresses")},
    {BRIDGE_("bridge_alpn")},
    {BRIDGE_("bridge_attempt_unsubscribe")},
    {BRIDGE_("bridge_bind_address")},
    {BRIDGE_("bridge_cafile")},
    {BRIDGE_("bridge_capath")},
    {BRIDGE_("bridge_certfile")},
    {BRIDGE_("bridge_ciphers")},
    {BRIDGE_("bridge_ciphers_tls1.3")},
    {BRIDGE_("bridge_identity")},
    {BRIDGE_("bridge_insecure")},
    {BRIDGE_("bridge_keyfile")},
    {BRIDGE_("bridge_max_packet_size")},
    {BRIDGE_("bridge_max_topic_alias")},
    {BRIDGE_("bridge_outgoing_retain")},
    {BRIDGE_("bridge_protocol_version")},
    {BRIDGE_("bridge_psk") | TF_CONFIG_SECRET},
    {BRIDGE_("bridge_reload_type")},
    {BRIDGE_("bridge_require_ocsp")},
    {BRIDGE_("bridge_tcp_keepalive")},
    {BRIDGE_("bridge_tcp_user_timeout")},
    {BRIDGE_("bridge_tls_version")},
    {BRIDGE_("cleansession")},
    {BRIDGE_("clientid")},
    {BRIDGE_("idle_timeout")},
    {BRIDGE_("keepalive_interval")},
    {BRIDGE_("local_cleansession")},
    {BRIDGE_("local_clientid")},
    {BRIDGE_("local_password") | TF_CONFIG_SECRET},
    {BRIDGE_("local_username")},
    {BRIDGE_("notification_topic")},
    {BRIDGE_("notifications")},
    {BRIDGE_("notifications_local_only")},
    {BRIDGE_("password") | TF_CONFIG_SECRET},
    {BRIDGE_("remote_clientid")},
    {BRIDGE_("remote_password") | TF_CONFIG_SECRET},
    {BRIDGE_("remote_username")},
    {BRIDGE_("restart_timeout")},
    {BRIDGE_("round_robin")},
    {BRIDGE_("start_type")},
    {BRIDGE_("threshold")},
    {BRIDGE_("topic")},
    {BRIDGE_("try_private")},
    {BRIDGE_("username")},
    {NOT_("max_inflight_bytes", MISSING, MISSING,
          "messages in flight are limited by number only: use max_inflight_messages"),
     .harmless = "0"},
    {NOT_("log_facility", MISSING, MISSING, "there is no syslog: the log goes to stderr")},
    {NOT_("http_dir", MISSING, MISSING, "Trefoil serves no files over HTTP")},

    /* ---- not done, and going on would be unsafe ---- */
    {SECURITY_("password_file", NO_PASSWORDS)},
    {SECURITY_("acl_file", NO_RIGHTS)},
    {SECURITY_("mount_point",
               "mount points are not available in this version, and going on would let this "
               "listener's clients see each other's topics")},
    {SECURITY_("bind_interface",
               "listening on one interface is not available in this version, and going on would "
               "listen on all; name an address of it in `listener port address`")},
    {SECURITY_("use_username_as_clientid",
               "this version checks no user names, so they cannot stand for client ids"),
     .harmless = "false"},
    {SECURITY_("auth_plugin", NO_PLUGIN)},
    {SECURITY_("auth_opt_*", NO_PLUGIN) | TF_CONFIG_SECRET},
    {SECURITY_("auth_plugin_deny_special_chars", NO_PLUGIN), .harmless = "true"},
    {SECURITY_("plugin", NO_PLUGIN)},
    {SECURITY_("plugin_opt_*", NO_PLUGIN) | TF_CONFIG_SECRET},
    {SECURITY_("cafile", NO_TLS)},
    {SECURITY_("capath", NO_TLS)},
    {SECURITY_("certfile", NO_TLS)},
    {SECURITY_("keyfile", NO_TLS)},
    {SECURITY_("ciphers", NO_TLS)},
    {SECURITY_("ciphers_tls1.3", NO_TLS)},
    {SECURITY_("crlfile", NO_TLS)},
    {SECURITY_("dhparamfile", NO_TLS)},
    {SECURITY_("require_certificate", NO_TLS), .harmless = "false"},
    {SECURITY_("tls_engine", NO_TLS)},
    {SECURITY_("tls_engine_kpass_sha1", NO_TLS) | TF_CONFIG_SECRET},
    {SECURITY_("tls_keyform", NO_TLS)},
    {SECURITY_("tls_version", NO_TLS)},
    {SECURITY_("use_identity_as_username", NO_IDENTITY), .harmless = "false"},
    {SECURITY_("use_subject_as_username", NO_IDENTITY), .harmless = "false"},
    {SECURITY_("psk_file", NO_PSK)},
    {SECURITY_("psk_hint", NO_PSK)},
    {SECURITY_("queue", "named queues are not available in this version") | TF_CONFIG_OWN},
};

const struct tf_config_key tf_config_log_file = {.name = "log_dest",
                                                 .help = "The path of log_dest file.",
                                                 GLOBAL_(log_file),
                                                 .kind = TF_CONFIG_KIND_TEXT};

const size_t tf_config_key_count = sizeof(tf_config_keys) / sizeof(tf_config_keys[0]);

_Static_assert(sizeof(tf_config_keys) / sizeof(tf_config_keys[0]) <= TF_CONFIG_KEY_MAX,
               "tf_config.given has a bit for every key");

const char *tf_config_group_title(enum tf_config_group group)
{
    static const char *const titles[TF_CONFIG_GROUP_COUNT] = {
        [TF_CONFIG_GROUP_PROCESS] = "The process",
        [TF_CONFIG_GROUP_LISTENER] = "Listeners",
        [TF_CONFIG_GROUP_ACCESS] = "Who may connect",
        [TF_CONFIG_GROUP_CONNECTION] = "Connections and packets",
        [TF_CONFIG_GROUP_SESSION] = "Sessions",
        [TF_CONFIG_GROUP_QUEUE] = "Retained messages and memory",
        [TF_CONFIG_GROUP_COAP] = "CoAP",
        [TF_CONFIG_GROUP_LOG] = "Log and $SYS",
        [TF_CONFIG_GROUP_MEANINGLESS] = "Of mosquitto, with nothing to do here",
        [TF_CONFIG_GROUP_BRIDGE] = "Of mosquitto's bridges, which are not available",
        [TF_CONFIG_GROUP_MISSING] = "Of mosquitto, not done: Trefoil warns and starts without",
        [TF_CONFIG_GROUP_SECURITY] = "Not done, and unsafe to leave out: Trefoil refuses to start",
    };

    return titles[group];
}

/* True if `name` is the row's, the `*` at its end included. */
static bool key_matches(const struct tf_config_key *key, struct tf_config_text name)
{
    size_t length;

    if (name.length == 0 || name.data[0] != key->name[0]) /* a file may have a million lines */
        return false;
    length = strlen(key->name);
    if (key->name[length - 1] == '*')
        return name.length >= length && memcmp(name.data, key->name, length - 1) == 0;
    return name.length == length && memcmp(name.data, key->name, length) == 0;
}

const struct tf_config_key *tf_config_key_find(struct tf_config_text name)
{
    for (size_t i = 0; i < tf_config_key_count; i++)
        if (key_matches(&tf_config_keys[i], name))
            return &tf_config_keys[i];
    return NULL;
}

#define NAME_MAX_ 48 /* longer than any key; a longer name is compared by its beginning */

/* Lower case, and `-` as `_`: what a slip of the hand does not count as a letter. */
static char key_fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static unsigned least_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/*
 * How many letters to insert, leave out, replace or swap with a neighbour to get from a to b;
 * `most` if it is that or more. Two rows in turn all at `most` can only lead to more, so it stops
 * there.
 */
static unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length,
                              unsigned most)
{
    unsigned rows[3][NAME_MAX_ + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    unsigned low_before, low = 0;

    if (a_length >= b_length + most || b_length >= a_length + most)
        return most;

    for (size_t j = 0; j <= b_length; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = (unsigned)i;
        low_before = low;
        low = row[0];
        for (size_t j = 1; j <= b_length; j++) {
            char from = key_fold(a[i - 1]), to = key_fold(b[j - 1]);

            row[j] = least_of(least_of(last[j], row[j - 1]) + 1, last[j - 1] + (from != to));
            if (i > 1 && j > 1 && from == key_fold(b[j - 2]) && key_fold(a[i - 2]) == to)
                row[j] = least_of(row[j], before[j - 2] + 1);
            low = least_of(low, row[j]);
        }
        if (low >= most && low_before >= most)
            return most;
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return least_of(last[b_length], most);
}

const struct tf_config_key *tf_config_key_nearest(struct tf_config_text name, bool *ret_close)
{
    const struct tf_config_key *nearest = &tf_config_keys[0];
    size_t length = name.length < NAME_MAX_ ? name.length : NAME_MAX_;
    unsigned best = NAME_MAX_ + 1;

    for (size_t i = 0; i < tf_config_key_count; i++) {
        const char *known = tf_config_keys[i].name;
        size_t known_length = strlen(known);
        unsigned distance;

        if (known_length > NAME_MAX_)
            known_length = NAME_MAX_;
        distance = edit_distance(name.data, length, known, known_length, best);
        if (distance < best) {
            best = distance;
            nearest = &tf_config_keys[i];
        }
    }
    *ret_close = best <= 2 || best * 3 <= length;
    return nearest;
}

bool tf_config_key_given(const struct tf_config *config, const struct tf_config_key *key)
{
    size_t i;

    if (!key)
        return false;
    i = tf_config_key_index(key);
    return config->given[i / 8] >> (i % 8) & 1;
}
