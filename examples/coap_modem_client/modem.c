/*
 * The modem's side of the line.
 */
#include "modem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../udp.h"

static struct udp network;
static union udp_path server;
static int own_end;              /* of the line */
static char command[MODEM_LINE]; /* as far as it has come */
static size_t command_length;

bool modem_start(const char *host, const char *port, int *ret_line)
{
    int ends[2];

    if (!udp_resolve(&server, host, port) || !udp_open(&network, &server, false))
        return false;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) {
        perror("no line");
        return false;
    }
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    (void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
    own_end = ends[0];
    *ret_line = ends[1];
    return true;
}

/* Does what the command says, which is whole. */
static void obey(void)
{
    static const char send_command[] = "AT+SEND=";
    static const char busy[] = "+BUSY\r";
    size_t at = sizeof send_command - 1, length = 0;
    uint8_t datagram[MODEM_DATAGRAM];
    unsigned byte;

    if (strncmp(command, send_command, at))
        return;
    for (; at + 1 < command_length && length < sizeof datagram; at += 2) {
        if (sscanf(&command[at], "%2x", &byte) != 1)
            return;
        datagram[length++] = (uint8_t)byte;
    }
    if (sendto(network.fd, datagram, length, 0, &server.any, udp_path_size(&server)) < 0)
        (void)!write(own_end, busy, sizeof busy - 1);
}

void modem_work(void)
{
    struct tf_datagram in;
    char byte, line[MODEM_LINE];

    while (read(own_end, &byte, 1) == 1) {
        if (byte == '\r') {
            command[command_length] = 0;
            obey();
            command_length = 0;
        } else if (command_length + 1 < sizeof command) {
            command[command_length++] = byte;
        }
    }
    while (udp_receive(&network, &in)) {
        if (in.bytes.length > MODEM_DATAGRAM)
            continue;
        int length = snprintf(line, sizeof line, "+RECV:");
        for (size_t i = 0; i < in.bytes.length; i++)
            length +=
                snprintf(&line[length], sizeof line - (size_t)length, "%02x", in.bytes.data[i]);
        line[length++] = '\r';
        (void)!write(own_end, line, (size_t)length); /* a full line loses it, as radio does */
    }
}

void modem_wait(int line, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = line, .events = POLLIN},
                           {.fd = own_end, .events = POLLIN},
                           {.fd = network.fd, .events = POLLIN}};

    (void)poll(fds, 3, timeout_ms);
}
