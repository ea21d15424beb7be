/*
 * A CoAP server to try clients on:
 *
 *     example-coap_demo_server [PORT [ACK_TIMEOUT_MS]] [--delay MS] [--group] [--leisure MS]
 *
 * It listens on 127.0.0.1; PORT is 5683 if left out, 0 takes a free one. /.well-known/core says
 * what is there: /time, /temp, /humidity, /alarm (all observable), /other/separate, which answers
 * after --delay (500 ms), /other/block, which is large; and what the ETSI plugtests ask for. The
 * handlers are in coap_demo_server/. With --group it is also a member of 224.0.1.187, on the
 * loopback interface, where it answers after a random time of at most --leisure (5000 ms).
 *
 * Everything is static; the library allocates nothing and calls nothing but the handlers.
 */
#include <signal.h>

#include "coap_demo_server/demo.h"
#include "coap_demo_server/etsi.h"
#include "coap_demo_server/value.h"
#include "udp.h"

#define OBSERVERS 32
#define BODIES 4
#define TRANSFERS 16 /* see coap_demo_server/etsi_large.c */

static struct tf_coap_endpoint_config config = {
    .features = {.negotiation = &tf_coap_negotiation,
                 .deduplication = &tf_coap_deduplication,
                 .separate = &tf_coap_separate,
                 .observe_server = &tf_coap_observe_server,
                 .block_server = &tf_coap_block_server,
                 .multicast_server = &tf_coap_multicast_server,
                 .echo_server = &tf_coap_echo_server},
    .path_size = sizeof(union udp_path),
    .peers = 64,
    .requests = 32,
    .exchanges = 64,
    .replies = 64,
    .observers = OBSERVERS,
    .transfers = TRANSFERS,
    .buffers = 256,
    .body_max = VALUE_MAX,
    .block_szx = TF_COAP_BLOCK_SZX_MAX,
    .separate_after_ms = 20,
    .random = udp_random,
};

static uint64_t memory[16384];
static uint8_t output[4096];
static struct tf_coap_endpoint *endpoint;
static struct tf_coap_resource root;
static struct tf_coap_server server;
static struct tf_coap_watch watches[OBSERVERS + 1];
static struct tf_coap_server_body bodies[BODIES];
static uint8_t body_data[BODIES][VALUE_MAX];
static uint8_t core_link[256], core_block[1024];
static struct tf_coap_core core = {
    .link = core_link,
    .link_size = sizeof core_link,
    .block = core_block,
    .block_size = sizeof core_block,
};
static struct udp sockets[2]; /* the second one is the group's */
static volatile sig_atomic_t stopped;

/* ---- the loop ---- */

/* Answers what the endpoint tells. */
static void pull(void)
{
    struct tf_coap_event event;

    while (tf_coap_endpoint_event(endpoint, &event)) {
        if (!tf_coap_server_event(&server, &event, udp_now()))
            etsi_event(&event);
    }
    udp_flush(&sockets[0], endpoint);
}

/* Feeds the endpoint with what has come to a socket. */
static void take(struct udp *udp, uint8_t flags)
{
    struct tf_datagram in;

    while (udp_receive(udp, &in)) {
        in.flags = flags;
        if (tf_coap_endpoint_input(endpoint, &in, udp_now()))
            fprintf(stderr, "a datagram was not taken\n");
        pull();
    }
}

static void run(size_t socket_count)
{
    tf_time second = udp_now() + TF_SECOND, until;

    while (!stopped) {
        take(&sockets[0], TF_DATAGRAM_TRUSTED);
        if (socket_count > 1)
            take(&sockets[1], TF_DATAGRAM_TRUSTED | TF_DATAGRAM_MULTICAST);
        tf_coap_endpoint_tick(endpoint, udp_now());
        pull();
        if (udp_now() >= second) {
            demo_second(&server);
            etsi_second(&server);
            second += TF_SECOND;
        }
        until = demo_answer(&server, udp_now());
        while (tf_coap_server_notify(&server, udp_now()))
            udp_flush(&sockets[0], endpoint);
        udp_flush(&sockets[0], endpoint);
        if (until > second)
            until = second;
        if (until > tf_coap_endpoint_deadline(endpoint))
            until = tf_coap_endpoint_deadline(endpoint);
        udp_wait(sockets, socket_count, until);
    }
}

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* A socket for the port on loopback; *port becomes the one that was taken. */
static bool listen_on(uint16_t *port)
{
    union udp_path path = {.v4 = {.sin_family = AF_INET, .sin_port = htons(*port)}};
    socklen_t size = sizeof path.v4;

    path.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!udp_open(&sockets[0], &path, true) || getsockname(sockets[0].fd, &path.any, &size))
        return false;
    *port = ntohs(path.v4.sin_port);
    return true;
}

/* A socket for what is sent to the group (RFC 7252 12.8), and to nothing else. */
static bool listen_on_group(uint16_t port)
{
    union udp_path path = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    struct ip_mreq group;

    path.v4.sin_addr.s_addr = inet_addr("224.0.1.187");
    group.imr_multiaddr = path.v4.sin_addr;
    group.imr_interface.s_addr = htonl(INADDR_LOOPBACK);
    return udp_open(&sockets[1], &path, true) &&
           !setsockopt(sockets[1].fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group);
}

/* What the command line says. */
static struct {
    unsigned long port, ack_timeout_ms, delay_ms, leisure_ms;
    bool group;
} options = {TF_COAP_PORT, 2000, 500, 5000, false};

/* Reads a number; false: it is none. */
static bool take_number(const char *text, unsigned long *ret)
{
    char *end;

    if (!text || *text < '0' || *text > '9')
        return false;
    *ret = strtoul(text, &end, 10);
    return !*end;
}

static bool take_options(char **argument)
{
    unsigned long *numbers[] = {&options.port, &options.ack_timeout_ms};
    size_t count = 0;
    bool right = true;

    for (; right && *argument; argument++) {
        if (!strcmp(*argument, "--group"))
            options.group = true;
        else if (!strcmp(*argument, "--delay"))
            right = take_number(*++argument, &options.delay_ms);
        else if (!strcmp(*argument, "--leisure"))
            right = take_number(*++argument, &options.leisure_ms);
        else
            right = count < 2 && take_number(*argument, numbers[count++]);
    }
    return right && options.port <= UINT16_MAX;
}

/* Makes the endpoint, and the server with all its resources. */
static bool make_server(void)
{
    config.transmission.ack_timeout_ms = (uint32_t)options.ack_timeout_ms;
    config.default_leisure_ms = (uint32_t)options.leisure_ms;
    if (tf_coap_endpoint_init(&endpoint, memory, sizeof memory, &config, udp_now()) ||
        tf_coap_endpoint_lend(endpoint, output, sizeof output))
        return false;
    tf_coap_server_init(&server, endpoint, &root);
    tf_coap_server_give_observers(&server, watches, OBSERVERS + 1);
    for (size_t i = 0; i < BODIES; i++)
        bodies[i] = (struct tf_coap_server_body){.data = body_data[i], .size = VALUE_MAX};
    tf_coap_server_give_bodies(&server, bodies, BODIES);
    return demo_add(&root, options.delay_ms * TF_MILLISECOND) && etsi_add(&root) &&
           !tf_coap_server_add_core(&server, &core);
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = on_signal};

    if (argc < 1 || !take_options(argv + 1)) {
        fprintf(stderr, "usage: %s [PORT [ACK_TIMEOUT_MS]] [--delay MS] [--group] [--leisure MS]\n",
                argv[0]);
        return 2;
    }
    uint16_t port = (uint16_t)options.port;
    if (!make_server() || !listen_on(&port) || (options.group && !listen_on_group(port)))
        return 1;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    printf("listening coap://127.0.0.1:%u\n", port);
    fflush(stdout);
    run(options.group ? 2 : 1);
    return 0;
}
