/*
 * The golden vectors of the AMQP codec: reading their files, and values, performatives and messages
 * as text in the notation that the files' heads describe.
 */
#ifndef TESTS_UNIT_AMQP_CODEC_TEXT_H
#define TESTS_UNIT_AMQP_CODEC_TEXT_H

#include <stdio.h>

#include <trefoil/amqp_message.h>
#include <trefoil/amqp_performative.h>

/* Room for the text or bytes of any vector. */
#define CODEC_ROOM (1 << 18)

/* One vector: the parts of its line between " | ", blanks around them cut off. */
struct codec_line {
    const char *file;
    unsigned number;
    char *parts[4]; /* NULL: not there */
};

/* Calls `run` for each line of tests/vectors/`name` that is no comment; returns how many. Lines
 * that begin with "tshark " are passed over, and so are those that begin with `#`. */
unsigned codec_file_run(const char *name, void (*run)(const struct codec_line *line));

/* The bytes of `61 62*3`, in a block of exactly their size, to be freed. */
struct tf_bytes codec_bytes(const struct codec_line *line, const char *text);

/* A copy of exactly this size, so that the sanitizer sees a step past it; to be freed. */
struct tf_bytes codec_copy(struct tf_bytes bytes);
void codec_free(struct tf_bytes bytes);

/* Fails the test with the line's place unless both are the same. */
void codec_same_text(const struct codec_line *line, const char *found, const char *expected);
void codec_same_bytes(const struct codec_line *line, struct tf_bytes found,
                      struct tf_bytes expected);

/* Appends text to `out`. Values were checked. */
void codec_value_text(FILE *out, const struct tf_amqp_value *value);
void codec_performative_text(FILE *out, const struct tf_amqp_performative *performative);
void codec_message_text(FILE *out, const struct tf_amqp_message *message);

/*
 * Writes a value with every code inside as wide as its type has it, its descriptors too; with
 * `symbolic`, a descriptor of the specification's types by its symbol.
 */
void codec_widen(struct tf_writer *writer, const struct tf_amqp_value *value, bool symbolic);

#endif
