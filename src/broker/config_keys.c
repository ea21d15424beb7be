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
#define NAMED_(field)                                                                  \
    .scope = TF_CONFIG_SCOPE_QUEUE, .offset = offsetof(struct tf_config_queue, field), \
    .width = sizeof(((struct tf_config_queue *)0)->field)
#define ACCESS_(field)                                                                   \
    .scope = TF_CONFIG_SCOPE_ACCESS, .offset = offsetof(struct tf_config_access, field), \
    .width = sizeof(((struct tf_config_access *)0)->field)

#define NUMBER_(from, to, preset) \
    .kind = TF_CONFIG_KIND_NUMBER, .least = (from), .most = (to), .initial = (preset)
#define BOOL_(preset) .kind = TF_CONFIG_KIND_BOOL, .initial = (preset)
#define TEXT_(how) .kind = TF_CONFIG_KIND_TEXT, .words = (how)
#define LINE_(what, how) .kind = TF_CONFIG_KIND_##what, .words = (how)

#define PROCESS_ .group = TF_CONFIG_GROUP_PROCESS
#define STORE_ .group = TF_CONFIG_GROUP_STORE
#define LISTEN_ .group = TF_CONFIG_GROUP_LISTENER
#define ADMIT_ .group = TF_CONFIG_GROUP_ACCESS, .flags = TF_CONFIG_RELOADABLE
#define CONN_ .group = TF_CONFIG_GROUP_CONNECTION
#define SESSION_ .group = TF_CONFIG_GROUP_SESSION
#define QUEUE_ .group = TF_CONFIG_GROUP_QUEUE
#define COAP_ .group = TF_CONFIG_GROUP_COAP
#define MQTT_ONLY_ .protocols = 1u << TF_CONFIG_PROTOCOL_MQTT
#define STREAMS_ .protocols = 1u << TF_CONFIG_PROTOCOL_MQTT | 1u << TF_CONFIG_PROTOCOL_AMQP
#define COAP_ONLY_ .protocols = 1u << TF_CONFIG_PROTOCOL_COAP
#define LOG_ .group = TF_CONFIG_GROUP_LOG

/* A number of an AMQP listener. */
#define AMQP_(key, field, from, to, preset, of, what)                                         \
    .name = (key), LISTENER_(field), NUMBER_(from, to, preset), .unit = (of), .help = (what), \
    .group = TF_CONFIG_GROUP_AMQP, .protocols = 1u << TF_CONFIG_PROTOCOL_AMQP,                \
    .flags = TF_CONFIG_OWN

/* A key of a queue's block, and one about queues in all. */
#define BLOCK_(key, what)                                          \
    .name = (key), .help = (what), .group = TF_CONFIG_GROUP_NAMED, \
    .flags = TF_CONFIG_OWN | TF_CONFIG_RELOADABLE
#define COUNT_(from, to, preset, of) NUMBER_(from, to, preset), .unit = (of)

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
#define NO_DATABASE                                                                                \
    "what is acknowledged is on the disk already, so there is nothing to save now and then or as " \
    "a whole"
#define NO_FILE "the store is a folder (persistence_location, or data), and names its files itself"
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
    /* ---- the store ---- */
    {.name = "data",
     GLOBAL_(data),
     TEXT_("folder"),
     STORE_,
     .flags = TF_CONFIG_OWN,
     .text = "none; without a configuration file $XDG_STATE_HOME/trefoil",
     .help = "Keeps sessions, queues, messages and retained messages in this folder, so that what "
             "was acknowledged is there after a restart, whatever ended the broker or the machine. "
             "It is made if it is not there; one broker uses it at a time. `serve --data` and "
             "`serve --memory` come before it."},
    {.name = "persistence",
     GLOBAL_(persistence),
     BOOL_(0),
     STORE_,
     .help = "mosquitto's way to ask for `data`, in the folder of persistence_location. Trefoil "
             "acknowledges what is on the disk; it saves nothing now and then."},
    {.name = "retained_persistence",
     GLOBAL_(persistence),
     BOOL_(0),
     STORE_,
     .flags = TF_CONFIG_ALIAS,
     .help = "Old name of persistence."},
    {.name = "persistence_location",
     GLOBAL_(persistence_location),
     TEXT_("folder"),
     STORE_,
     .text = "$XDG_STATE_HOME/trefoil",
     .help = "The folder of `persistence true`. `data` comes before it. A mosquitto.db that is in "
             "it is not read, and left alone."},
    {.name = "durability",
     GLOBAL_(durability),
     .kind = TF_CONFIG_KIND_DURABILITY,
     STORE_,
     .words = "memory os disk",
     .initial = TF_CONFIG_DURABILITY_DISK,
     .flags = TF_CONFIG_OWN | TF_CONFIG_RELOADABLE | TF_CONFIG_MANY,
     .help = "What an acknowledgement means, where there is `data`: `disk`, it survives the "
             "machine's power; `os`, it survives the broker, and the machine's power once the "
             "system has written it; `memory`, neither. After a `listener` line: of what comes by "
             "that listener, and of the sessions made there. Before any: of all listeners and "
             "queues that say nothing else."},
    {.name = "address",
     LINE_(ADDRESS, "filter"),
     STORE_,
     .flags = TF_CONFIG_OWN | TF_CONFIG_RELOADABLE | TF_CONFIG_MANY,
     .text = "none",
     .help = "Begins a block for the addresses that a filter with + and # matches. (After a "
             "`connection` line it is mosquitto's, of a bridge.)"},
    {.name = "address_durability",
     .scope = TF_CONFIG_SCOPE_ADDRESS,
     .offset = offsetof(struct tf_config_address, durability),
     .width = sizeof(((struct tf_config_address *)0)->durability),
     .kind = TF_CONFIG_KIND_CHOICE,
     STORE_,
     .words = "memory os disk",
     .initial = TF_CONFIG_DURABILITY_DISK,
     .flags = TF_CONFIG_OWN | TF_CONFIG_RELOADABLE,
     .help = "How safe messages for these addresses are kept at most, whatever queue or session "
             "they wait in. Of a message, a queue and a listener the least counts."},
    {.name = "store_segment_size",
     GLOBAL_(store_segment_size),
     NUMBER_(1048576, 2147483648, 67108864),
     STORE_,
     .flags = TF_CONFIG_OWN,
     .unit = "bytes",
     .help = "The size of the store's files, each of them reserved at once."},
    {.name = "store_soft_limit",
     GLOBAL_(store_soft_limit),
     NUMBER_(1048576, TF_CONFIG_UNLIMITED64 - 1, TF_CONFIG_UNLIMITED64),
     STORE_,
     .flags = TF_CONFIG_OWN | TF_CONFIG_ZERO_NONE,
     .unit = "bytes",
     .help = "Bytes of all files of the store from which publishers are slowed down. 0: none."},
    {.name = "store_limit",
     GLOBAL_(store_limit),
     NUMBER_(1048576, TF_CONFIG_UNLIMITED64 - 1, TF_CONFIG_UNLIMITED64),
     STORE_,
     .flags = TF_CONFIG_OWN | TF_CONFIG_ZERO_NONE,
     .unit = "bytes",
     .help = "Bytes of all files of the store at most: what would have to be kept beyond that is "
             "refused, and its publisher told. Some times store_segment_size. 0: what the disk "
             "holds."},
    {.name = "store_snapshot_interval",
     GLOBAL_(store_snapshot_interval),
     NUMBER_(1048576, TF_CONFIG_UNLIMITED64 - 1, 67108864),
     STORE_,
     .flags = TF_CONFIG_OWN,
     .unit = "bytes",
     .help = "After how many bytes the index is written anew, so that a start after a crash reads "
             "no more than that."},

    /* ---- listeners ---- */
    {.name = "listener",
     LINE_(LISTENER, "port [host]"),
     LISTEN_,
     .flags = TF_CONFIG_MANY,
     .text = "1883 (MQTT), 5683 (CoAP) and 5672 (AMQP) on loopback",
     .help =
         "Listens on a port, on one address or name or on all interfaces. Options of a "
         "listener after this line belong to it. Port 0 takes a free one. Without any listener "
         "Trefoil listens on loopback only, for MQTT on port 1883, for CoAP on port 5683 and for "
         "AMQP on port 5672."},
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
     LINE_(PROTOCOL, "mqtt | coap | amqp"),
     LISTEN_,
     .text = "mqtt",
     .help = "What is spoken on this listener: mqtt over TCP, coap over UDP or AMQP 1.0 over TCP "
             "(the last two are Trefoil's own). Known but not available in this version: "
             "websockets, coaps, coap+tcp, amqps, http."},
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
     STREAMS_,
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
             "more is refused, messages first. 0: no limit but the ones above."},

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

    /* ---- AMQP: of a listener ---- */
    {AMQP_("amqp_max_frame_size", amqp_max_frame_size, 512, 1048576, 131072, "bytes",
           "Of a `protocol amqp` listener: the largest frame that is taken from a peer. Messages "
           "may be larger: they come in as many frames as they need.")},
    {AMQP_("amqp_max_sessions", amqp_max_sessions, 1, 65536, 256, "sessions",
           "Of a `protocol amqp` listener: sessions of one connection.")},
    {AMQP_("amqp_max_links", amqp_max_links, 1, 65536, 1024, "links",
           "Of a `protocol amqp` listener: links of one connection, in all its sessions.")},
    {AMQP_("amqp_max_unsettled", amqp_max_unsettled, 1, 1048576, 65536, "deliveries",
           "Of a `protocol amqp` listener: deliveries of one session that nobody has settled, in "
           "each direction.")},
    {AMQP_("amqp_idle_timeout", amqp_idle_timeout_s, 0, 86400, 60, "seconds",
           "Of a `protocol amqp` listener: a peer that is silent for so long is gone; half of it "
           "is announced. 0: never.")},

    /* ---- queues ---- */
    {BLOCK_("queue",
            "Begins a queue, which then is there from the start and is never deleted by a "
            "client. The `queue_` keys after this line, to the next `queue` or `listener`, "
            "belong to it. One that is taken out stays until the broker ends.") |
         TF_CONFIG_MANY,
     LINE_(QUEUE, "name"), .text = "none"},
    {BLOCK_("queue_bind",
            "An address, or a filter with + and #, whose messages the queue gets too. "
            "May be said several times. To the address of its own name a queue is "
            "bound too when a client uses that name.") |
         TF_CONFIG_MANY,
     LINE_(QUEUE_BIND, "filter"), .scope = TF_CONFIG_SCOPE_QUEUE, .text = "none"},
    {BLOCK_("queue_dead_letter", "The address that messages go to which expire, are rejected, fail "
                                 "too often, or are dropped by drop_old or drop_new. Without it "
                                 "they are gone, and counted."),
     NAMED_(dead_letter), TEXT_("address"), .text = "none"},
    {BLOCK_("queue_message_ttl", "How long a message may wait in the queue. 0: as long as it says "
                                 "itself."),
     NAMED_(message_ttl_s), COUNT_(0, 4294967294, 0, "seconds")},
    {BLOCK_("queue_max_messages",
            "Messages in the queue, those in the hands of consumers included. "
            "0: no limit.") |
         TF_CONFIG_ZERO_NONE,
     NAMED_(max_messages), COUNT_(1, TF_CONFIG_UNLIMITED - 1, 0, "messages"),
     .text = "queue_default_max_messages"},
    {BLOCK_("queue_max_bytes", "Bytes of those messages. 0: no limit.") | TF_CONFIG_ZERO_NONE,
     NAMED_(max_bytes), COUNT_(1, TF_CONFIG_UNLIMITED64 - 1, 0, "bytes"),
     .text = "queue_default_max_bytes"},
    {BLOCK_("queue_overflow", "What a full queue does: its sender is told and the message refused; "
                              "or the oldest messages that wait make room; or the new one is "
                              "dropped. What comes from an address that the queue is bound to is "
                              "never refused, but dropped."),
     NAMED_(overflow), .kind = TF_CONFIG_KIND_CHOICE, .words = "refuse drop_old drop_new",
     .initial = TF_CONFIG_OVERFLOW_REFUSE},
    {BLOCK_("queue_max_attempts", "A message that was rejected, or was with a consumer that failed "
                                  "or was lost, so many times is dead. 0: it is tried for ever."),
     NAMED_(max_attempts), COUNT_(0, 4294967294, 0, "times")},
    {BLOCK_("queue_durability", "How safe the queue and its messages are kept, where there is "
                                "`data`; inherit: as the global `durability` says."),
     NAMED_(durability), .kind = TF_CONFIG_KIND_CHOICE, .words = "memory os disk inherit",
     .initial = TF_CONFIG_DURABILITY_INHERIT},
    {BLOCK_("queue_durable", "false: as `queue_durability memory`."), NAMED_(durable), BOOL_(1)},
    {BLOCK_("topic",
            "Addresses, by a filter with + and #, that are topics for AMQP: a sender or a "
            "receiver that names one declares no queue. Several lines are several filters. "
            "(After a `connection` line it is mosquitto's, of a bridge.)") |
         TF_CONFIG_MANY,
     LINE_(TOPIC, "filter"), .text = "none"},
    {BLOCK_("queue_idle_timeout", "A queue that a client declared by using its name goes when it "
                                  "has been empty and unused for so long. 0: never."),
     GLOBAL_(queue_idle_timeout_s), COUNT_(0, 4294967294, 3600, "seconds")},
    {BLOCK_("max_queues", "Queues in all, those of the configuration included, spread over the "
                          "shards."),
     GLOBAL_(max_queues), COUNT_(1, 10000000, 100000, "queues")},
    {BLOCK_("queue_default_max_messages", "Messages in a queue that says nothing else. 0: no "
                                          "limit.") |
         TF_CONFIG_ZERO_NONE,
     GLOBAL_(queue_default_max_messages), COUNT_(1, TF_CONFIG_UNLIMITED - 1, 1000000, "messages"),
     .loss = "what comes to a queue that has so many from an address it is bound to is dropped"},
    {BLOCK_("queue_default_max_bytes", "Bytes in a queue that says nothing else. 0: no limit.") |
         TF_CONFIG_ZERO_NONE,
     GLOBAL_(queue_default_max_bytes), COUNT_(1, TF_CONFIG_UNLIMITED64 - 1, 1073741824, "bytes"),
     .loss = "what comes to a queue that has so much from an address it is bound to is dropped"},

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
    {NOT_("persistence_file", MEANINGLESS, MEANINGLESS, NO_FILE)},
    {NOT_("websockets_log_level", MEANINGLESS, MEANINGLESS, NO_WEBSOCKETS)},
    {NOT_("websockets_headers_size", MEANINGLESS, MEANINGLESS, NO_WEBSOCKETS)},

    /* ---- not done, and going on without ---- */
    {BRIDGE_("connection")},
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
};

const struct tf_config_key tf_config_log_file = {.name = "log_dest",
                                                 .help = "The path of log_dest file.",
                                                 GLOBAL_(log_file),
                                                 .kind = TF_CONFIG_KIND_TEXT};

const size_t tf_config_key_count = sizeof(tf_config_keys) / sizeof(tf_config_keys[0]);

_Static_assert(sizeof(tf_config_keys) / sizeof(tf_config_keys[0]) <= TF_CONFIG_KEY_MAX,
               "tf_config.given has a bit for every key");
