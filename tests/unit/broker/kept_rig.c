/*
 * See kept_rig.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/broker/kept_rig.h"

struct kept_rig *kept_prepare(void (*init)(struct driver *driver, unsigned shards), unsigned shards)
{
    struct kept_rig *rig = calloc(1, sizeof(*rig));
    sim_disk_init(&rig->disk, 1);
    init(&rig->driver, shards);
    driver_keep(&rig->driver, &rig->disk.disk);
    return rig;
}

struct kept_rig *kept_start(unsigned shards)
{
    struct kept_rig *rig = kept_prepare(driver_init, shards);
    driver_start(&rig->driver);
    return rig;
}

void kept_crash_keeping(struct kept_rig *rig, unsigned shards, tf_time away, unsigned keep)
{
    struct sim_disk left;
    sim_disk_crash(&rig->disk, &left, ++rig->seed, keep);
    driver_end(&rig->driver);
    sim_disk_release(&rig->disk);
    rig->disk = left;
    rig->driver.disk = &rig->disk.disk;
    rig->driver.now += away;
    rig->driver.count = shards;
    driver_start(&rig->driver);
    assert_int_equal(rig->driver.restored.orphans, 0);
}

void kept_crash(struct kept_rig *rig, unsigned shards, tf_time away)
{
    kept_crash_keeping(rig, shards, away, 0);
}

void kept_stop(struct kept_rig *rig)
{
    driver_stop(&rig->driver);
    sim_disk_release(&rig->disk);
    free(rig);
}

const struct hello kept_lasting = {.expiry = 3600};

void kept_wake(struct kept_rig *rig)
{
    rig->driver.store_rests = false;
    driver_run(&rig->driver);
}

struct reply kept_gated(struct kept_rig *rig, struct client *client, unsigned type)
{
    peer_expect_nothing(client);
    kept_wake(rig);
    struct reply reply = peer_expect(client, type);
    rig->driver.store_rests = true;
    return reply;
}
