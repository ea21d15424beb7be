/*
 * The bare limit of a store: groups of bytes appended to a reserved file, each synced before the
 * next. No index, no sums, nobody who waits.
 *
 *     bare-append FOLDER MILLISECONDS BYTES...
 *
 * For each of the BYTES it appends groups of that size for so long, and prints a line: bytes of a
 * group, groups a second, median of one group in microseconds. FOLDER is that of the disk that is
 * meant; what is made in it goes when all is done. It makes system calls itself, being no part of
 * Trefoil.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SEGMENT = 64 << 20,    /* a file of the journal's */
    SAMPLES_MAX = 1 << 20, /* a run ends there at the latest */
    NAME_MAX_LENGTH = 4096
};

struct file {
    const char *folder;
    int fd; /* -1: none yet */
    int64_t at;
    char name[NAME_MAX_LENGTH];
};

static void die(const char *what)
{
    fprintf(stderr, "bare-append: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* A new file with its room reserved, in the place of the one before. */
static void renew(struct file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    snprintf(file->name, sizeof file->name, "%s/bare-append.%ld", file->folder, (long)getpid());
    unlink(file->name);
    file->fd = open(file->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->fd < 0)
        die(file->name);
    int err = posix_fallocate(file->fd, 0, SEGMENT);
    if (err) {
        errno = err;
        die("posix_fallocate");
    }
    if (fsync(file->fd))
        die("fsync");
    file->at = 0;
}

static void append(struct file *file, const uint8_t *bytes, size_t length)
{
    if (file->fd < 0 || file->at + (int64_t)length > SEGMENT)
        renew(file);
    for (size_t done = 0; done < length;) {
        ssize_t put = pwrite(file->fd, bytes + done, length - done, file->at + (int64_t)done);
        if (put < 0)
            die("pwrite");
        done += (size_t)put;
    }
    file->at += (int64_t)length;
    if (fdatasync(file->fd))
        die("fdatasync");
}

static int compare(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

static void measure(struct file *file, size_t length, int64_t run_ns, int32_t *samples)
{
    uint8_t *bytes = malloc(length);
    if (!bytes)
        die("memory");
    memset(bytes, 'x', length);
    size_t count = 0;
    append(file, bytes, length); /* the file is there */
    int64_t begin = now_ns(), last = begin, end = begin;
    while (end - begin < run_ns && count < SAMPLES_MAX) {
        append(file, bytes, length);
        end = now_ns();
        samples[count++] = (int32_t)(end - last);
        last = end;
    }
    qsort(samples, count, sizeof samples[0], compare);
    printf("%zu %.1f %.1f\n", length, (double)count * 1e9 / (double)(end - begin),
           samples[count / 2] / 1e3);
    fflush(stdout);
    free(bytes);
}

int main(int argc, char **argv)
{
    long milliseconds = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    if (milliseconds <= 0) {
        fprintf(stderr, "usage: bare-append FOLDER MILLISECONDS BYTES...\n");
        return 2;
    }
    struct file file = {.folder = argv[1], .fd = -1};
    int32_t *samples = malloc(SAMPLES_MAX * sizeof samples[0]);
    if (!samples)
        die("memory");
    for (int i = 3; i < argc; i++) {
        long length = strtol(argv[i], NULL, 10);
        if (length <= 0 || length > SEGMENT) {
            fprintf(stderr, "bare-append: not a size of a group: %s\n", argv[i]);
            return 2;
        }
        measure(&file, (size_t)length, (int64_t)milliseconds * 1000000, samples);
    }
    close(file.fd);
    unlink(file.name);
    free(samples);
    return 0;
}
