/* The real disk: what base/disk.h says of each call, in a folder of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/disk_file.h"

struct fixture {
    struct tf_disk_file file;
    struct tf_disk *disk;
    char path[64];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->path, "/tmp/trefoil-disk-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(tf_disk_file_init(&f->file, f->path), TF_OK);
    f->disk = &f->file.disk;
    *state = f;
    return 0;
}

static void remove_it(void *ctx, const char *name)
{
    struct tf_disk *disk = ctx;

    assert_int_equal(disk->ops->remove(disk, name), TF_OK);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->disk->ops->list(f->disk, remove_it, f->disk), TF_OK);
    tf_disk_file_release(&f->file);
    assert_int_equal(rmdir(f->path), 0);
    free(f);
    return 0;
}

static int create(struct fixture *f, const char *name)
{
    int file = -1;

    assert_int_equal(f->disk->ops->open(f->disk, name, TF_DISK_CREATE, &file), TF_OK);
    return file;
}

static void files_and_names(void **state)
{
    struct fixture *f = *state;
    const struct tf_disk_ops *ops = f->disk->ops;
    int file = -1, other;

    assert_int_equal(ops->open(f->disk, "a", TF_DISK_READ, &file), TF_NOT_FOUND);
    assert_int_equal(ops->open(f->disk, "a", TF_DISK_WRITE, &file), TF_NOT_FOUND);
    assert_int_equal(file, -1);
    file = create(f, "a");
    assert_int_equal(ops->open(f->disk, "a", TF_DISK_CREATE, &other), TF_EXISTS);
    assert_int_equal(ops->rename(f->disk, "a", "b"), TF_OK);
    assert_int_equal(ops->rename(f->disk, "a", "b"), TF_NOT_FOUND);
    assert_int_equal(ops->sync_folder(f->disk), TF_OK);
    assert_int_equal(ops->open(f->disk, "b", TF_DISK_READ, &other), TF_OK);
    ops->close(f->disk, other);
    assert_int_equal(ops->remove(f->disk, "b"), TF_OK);
    assert_int_equal(ops->remove(f->disk, "b"), TF_NOT_FOUND);
    ops->close(f->disk, file);
}

static void names_stay_in_the_folder(void **state)
{
    struct fixture *f = *state;
    const char *const bad[] = {"", ".", "..", "../a", "a/b", "/a", ".hidden"};
    int file;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(f->disk->ops->open(f->disk, bad[i], TF_DISK_CREATE, &file), TF_MISUSE);
        assert_int_equal(f->disk->ops->remove(f->disk, bad[i]), TF_MISUSE);
        assert_int_equal(f->disk->ops->rename(f->disk, bad[i], "a"), TF_MISUSE);
    }
}

/* More spans than one system call takes, empty ones among them. */
static void many_spans(void **state)
{
    struct fixture *f = *state;
    const struct tf_disk_ops *ops = f->disk->ops;
    static uint8_t data[3000], back[4000];
    static struct tf_bytes spans[2000];
    size_t at = 0, length;
    uint64_t size;
    int file = create(f, "spans");

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < 2000; i++) {
        size_t part = i % 4;
        spans[i] = tf_bytes_of(data + at, part);
        at += part;
    }
    assert_int_equal(at, sizeof(data));
    assert_int_equal(ops->write(f->disk, file, 100, spans, 2000), TF_OK);
    assert_int_equal(ops->sync(f->disk, file), TF_OK);
    assert_int_equal(ops->size(f->disk, file, &size), TF_OK);
    assert_int_equal(size, 3100);
    assert_int_equal(ops->read(f->disk, file, 100, back, sizeof(back), &length), TF_OK);
    assert_int_equal(length, 3000);
    assert_memory_equal(data, back, 3000);
    assert_int_equal(ops->read(f->disk, file, 5000, back, 10, &length), TF_OK);
    assert_int_equal(length, 0);
    ops->close(f->disk, file);
}

static void space_is_reserved(void **state)
{
    struct fixture *f = *state;
    const struct tf_disk_ops *ops = f->disk->ops;
    int file = create(f, "space");
    struct tf_bytes word = tf_bytes_str("word");
    uint8_t back[8];
    uint64_t size, space;
    size_t length;

    assert_int_equal(ops->write(f->disk, file, 0, &word, 1), TF_OK);
    assert_int_equal(ops->reserve(f->disk, file, 65536), TF_OK);
    assert_int_equal(ops->size(f->disk, file, &size), TF_OK);
    assert_int_equal(size, 65536);
    assert_int_equal(ops->read(f->disk, file, 0, back, 8, &length), TF_OK);
    assert_memory_equal(back, "word\0\0\0\0", 8);
    assert_int_equal(ops->truncate(f->disk, file, 2), TF_OK);
    assert_int_equal(ops->size(f->disk, file, &size), TF_OK);
    assert_int_equal(size, 2);
    assert_int_equal(ops->space(f->disk, &space), TF_OK);
    assert_true(space > 0);
    /* More than any file may have. */
    assert_int_equal(ops->reserve(f->disk, file, UINT64_C(1) << 62), TF_LIMIT);
    ops->close(f->disk, file);
}

static void read_only_files_refuse(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes word = tf_bytes_str("word");
    int file = create(f, "read");

    f->disk->ops->close(f->disk, file);
    assert_int_equal(f->disk->ops->open(f->disk, "read", TF_DISK_READ, &file), TF_OK);
    assert_int_equal(f->disk->ops->write(f->disk, file, 0, &word, 1), TF_IO);
    assert_true(f->disk->error != 0);
    f->disk->ops->close(f->disk, file);
}

static void the_lock_names_its_holder(void **state)
{
    struct fixture *f = *state;
    struct tf_disk_file second;
    uint64_t holder = 0;

    assert_int_equal(tf_disk_file_init(&second, f->path), TF_OK);
    assert_int_equal(f->disk->ops->lock(f->disk, &holder), TF_OK);
    assert_int_equal(second.disk.ops->lock(&second.disk, &holder), TF_EXISTS);
    assert_int_equal(holder, getpid());
    f->disk->ops->unlock(f->disk);
    assert_int_equal(second.disk.ops->lock(&second.disk, &holder), TF_OK);
    tf_disk_file_release(&second);
}

static void readers_share_the_lock(void **state)
{
    struct fixture *f = *state;
    struct tf_disk_file second, third;
    uint64_t holder = 0;

    assert_int_equal(tf_disk_file_look(&second, f->path), TF_OK);
    assert_int_equal(tf_disk_file_look(&third, f->path), TF_OK);
    assert_int_equal(tf_disk_file_share(&second, &holder), TF_NOT_FOUND);
    assert_int_equal(f->disk->ops->lock(f->disk, &holder), TF_OK);
    assert_int_equal(tf_disk_file_share(&second, &holder), TF_EXISTS);
    assert_int_equal(holder, getpid());
    f->disk->ops->unlock(f->disk);
    assert_int_equal(tf_disk_file_share(&second, &holder), TF_OK);
    assert_int_equal(tf_disk_file_share(&third, &holder), TF_OK);
    assert_int_equal(f->disk->ops->lock(f->disk, &holder), TF_EXISTS);
    tf_disk_file_release(&second);
    assert_int_equal(f->disk->ops->lock(f->disk, &holder), TF_EXISTS);
    tf_disk_file_release(&third);
    assert_int_equal(f->disk->ops->lock(f->disk, &holder), TF_OK);
    assert_int_equal(tf_disk_file_look(&second, "/nonexistent/folder"), TF_NOT_FOUND);
}

static void no_such_parent(void **state)
{
    struct tf_disk_file file;

    (void)state;
    assert_int_equal(tf_disk_file_init(&file, "/nonexistent/folder"), TF_IO);
    assert_true(file.disk.error != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_and_names, setup, teardown),
        cmocka_unit_test_setup_teardown(names_stay_in_the_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(many_spans, setup, teardown),
        cmocka_unit_test_setup_teardown(space_is_reserved, setup, teardown),
        cmocka_unit_test_setup_teardown(read_only_files_refuse, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lock_names_its_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_share_the_lock, setup, teardown),
        cmocka_unit_test(no_such_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
