/*
 * The golden vectors, tests/vectors/mqtt-PACKET.txt: each is read and compared with its lines,
 * written again and compared with its bytes, and cut at every length. See
 * tests/vectors/README-mqtt.md for the form of the files.
 */
#include "packet_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct vector {
    char name[128];
    unsigned version;
    struct tf_bytes bytes;
    struct tf_bytes shortest;   /* what the writer makes of it; none: the same bytes */
    unsigned error;             /* the reason code it must get; 0: it is valid */
    char text[PACKET_TEXT_MAX]; /* the lines expected */
};

/* Reads hexadecimal bytes; `61*300` is a byte 300 times. The block is exactly as long as they are.
 */
static struct tf_bytes hex_read(const char *text)
{
    uint8_t *bytes = malloc(1 << 20);
    size_t length = 0;
    char *end;

    for (; *text; text = end + strspn(end, " \n")) {
        unsigned long value = strtoul(text, &end, 16), count = 1;

        if (end == text || value > 255)
            fail_msg("bad bytes: %s", text);
        if (*end == '*')
            count = strtoul(end + 1, &end, 10);
        assert_true(length + count <= 1 << 20);
        memset(bytes + length, (int)value, count);
        length += count;
    }
    bytes = realloc(bytes, length ? length : 1);
    return tf_bytes_of(bytes, length);
}

/* A copy in a block of exactly its size: the sanitizer sees the first byte past the end. */
static struct tf_bytes cut(struct tf_bytes bytes, size_t length)
{
    uint8_t *block = malloc(length ? length : 1);

    assert_non_null(block);
    memcpy(block, bytes.data, length);
    return tf_bytes_of(block, length);
}

/* Gives a view's block back. */
static void drop(struct tf_bytes *bytes)
{
    free((void *)(uintptr_t)bytes->data);
    *bytes = (struct tf_bytes){NULL, 0};
}

/* Reads one packet from `bytes`; 0 or the reason code, or -1 for "more". */
static int decode(struct tf_bytes bytes, unsigned version, struct any_packet *ret)
{
    struct tf_mqtt_frame frame;
    size_t need = 0;
    uint8_t reason = 0;
    enum tf_err err = tf_mqtt_frame_read(bytes, SIZE_MAX, &frame, &need, &reason);

    if (err == TF_MORE) {
        assert_true(need > bytes.length);
        return -1;
    }
    if (!err) {
        assert_int_equal(frame.length, bytes.length);
        err = any_packet_read(&frame, version, ret, &reason);
    }
    if (!err)
        return 0;
    assert_int_equal(err, TF_PROTOCOL);
    assert_true(reason >= 0x80);
    return reason;
}

/* Writes the packet and compares. */
static void encode(const struct vector *vector, const struct any_packet *packet)
{
    struct tf_bytes expected = vector->shortest.data ? vector->shortest : vector->bytes;
    size_t size = any_packet_size(packet);
    uint8_t *block = malloc(size ? size : 1);
    struct tf_writer writer = tf_writer_of(block, size);

    any_packet_write(&writer, packet);
    assert_false(writer.failed);
    assert_int_equal(size, expected.length);
    assert_int_equal(tf_writer_length(&writer), size);
    assert_memory_equal(block, expected.data, size);

    for (size_t room = 0; room < size; room += size < 512 ? 1 : size / 64) {
        writer = tf_writer_of(block, room);
        any_packet_write(&writer, packet);
        assert_true(writer.failed);
        assert_int_equal(tf_writer_length(&writer), 0);
    }
    free(block);
}

/* What is left of the packet after each length, first as it came, then with its length mended. */
static void prefixes(const struct vector *vector)
{
    size_t step = vector->bytes.length < 2048 ? 1 : 997;
    size_t head = 1;

    while (vector->bytes.data[head++] > 127)
        ;
    for (size_t length = 0; length < vector->bytes.length; length += step) {
        struct tf_bytes part = cut(vector->bytes, length);
        struct tf_mqtt_frame frame = {0};
        struct any_packet packet;
        uint8_t reason = 0;

        assert_int_equal(decode(part, vector->version, &packet), -1);
        if (length >= head) {
            frame.type = part.data[0] >> 4;
            frame.flags = part.data[0] & 15;
            frame.body = tf_bytes_of(part.data + head, length - head);
            frame.length = length;
            memset(&packet, 0, sizeof packet);
            if (any_packet_read(&frame, vector->version, &packet, &reason))
                assert_true(reason >= 0x80);
            else
                assert_true(any_packet_size(&packet) > 0);
        }
        drop(&part);
    }
}

/* One vector. */
static void vector_run(struct vector *vector)
{
    static char text[PACKET_TEXT_MAX];
    struct any_packet packet;

    memset(&packet, 0, sizeof packet);
    int reason = decode(vector->bytes, vector->version, &packet);
    if (reason < 0 || (unsigned)reason != vector->error)
        fail_msg("%s: 0x%02x instead of 0x%02x", vector->name, (unsigned)reason, vector->error);
    if (!reason) {
        packet_text(text, &packet);
        if (strcmp(text, vector->text) != 0)
            fail_msg("%s is\n%sinstead of\n%s", vector->name, text, vector->text);
        encode(vector, &packet);
        prefixes(vector);
    }
    drop(&vector->bytes);
    if (vector->shortest.data)
        drop(&vector->shortest);
}

/* Takes a line that is expected of the packet. */
static void text_add(struct vector *vector, const char *line)
{
    size_t length = strlen(vector->text);

    if (length + strlen(line) >= sizeof vector->text)
        fail_msg("%s: too much text", vector->name);
    strcpy(vector->text + length, line);
}

/* Takes one line into the vector. */
static void line_read(struct vector *vector, const char *line)
{
    static const char bytes[] = "bytes ", shortest[] = "shortest ", error[] = "error ";

    if (!strncmp(line, bytes, sizeof bytes - 1))
        vector->bytes = hex_read(line + sizeof bytes - 1);
    else if (!strncmp(line, shortest, sizeof shortest - 1))
        vector->shortest = hex_read(line + sizeof shortest - 1);
    else if (!strncmp(line, error, sizeof error - 1))
        vector->error = (unsigned)strtoul(line + sizeof error - 1, NULL, 16);
    else if (strncmp(line, "tshark ", 7) != 0 && *line != '#')
        text_add(vector, line);
}

/* Runs the vectors of one file and counts them. */
static void file_run(const char *path, unsigned *valid, unsigned *invalid)
{
    static struct vector vector;
    static char line[1 << 16];
    FILE *file = fopen(path, "r");
    char name[64], sender[16];

    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        unsigned version;

        if (sscanf(line, "vector %63s %u %15s", name, &version, sender) != 3)
            continue; /* a comment between two vectors */
        memset(&vector, 0, sizeof vector);
        snprintf(vector.name, sizeof vector.name, "%s: %s", strrchr(path, '/') + 1, name);
        vector.version = version;
        if (strcmp(sender, "client") != 0 && strcmp(sender, "server") != 0)
            fail_msg("%s: sent by whom?", vector.name);
        while (fgets(line, sizeof line, file) && *line != '\n')
            line_read(&vector, line);
        if (!vector.bytes.data || !!vector.error != !*vector.text)
            fail_msg("%s is not complete", vector.name);
        *(vector.error ? invalid : valid) += 1;
        vector_run(&vector);
    }
    fclose(file);
}

static void vectors_agree(void **state)
{
    static const char *const packets[] = {"frame",     "connect", "connack",    "publish", "ack",
                                          "subscribe", "suback",  "disconnect", "tshark"};
    unsigned valid = 0, invalid = 0;

    (void)state;
    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        char path[512];

        snprintf(path, sizeof path, "%s/mqtt-%s.txt", TF_VECTORS_DIR, packets[i]);
        file_run(path, &valid, &invalid);
    }
    print_message("%u valid vectors, %u that are refused\n", valid, invalid);
    assert_true(valid >= 200 && invalid >= 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
