/* An open store and a loop that runs a test's body as its first task. */
#pragma once

#include <stdbool.h>
#include <stdlib.h>

#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "daemon/store/store.h"
#include "tests/unit/store/sample.h"

struct place {
    struct sample *sample;
    struct store *store;
    int64_t min_free_bytes, ballast_bytes;
    bool relaxed;
    int failures; /* calls of failed() */
};

static inline void place_failed(void *arg)
{
    ((struct place *)arg)->failures++;
}

static inline int place_try_open(struct place *p, struct error *ret_why)
{
    struct store_options options = {
        .directory = p->sample->directory,
        .relaxed = p->relaxed,
        .min_free_bytes = p->min_free_bytes,
        .ballast_bytes = p->ballast_bytes,
    };

    return store_open(&options, place_failed, p, &p->store, ret_why);
}

static inline void place_open(struct place *p)
{
    struct error why;

    if (place_try_open(p, &why) < 0)
        fail_msg("%s", why.text);
}

static inline void place_close(struct place *p)
{
    p->store = store_close(p->store);
}

static inline int place_setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    void *sample;

    if (!p || sample_setup(&sample) < 0)
        return -1;
    p->sample = sample;
    *state = p;
    return 0;
}

static inline int place_teardown(void **state)
{
    struct place *p = *state;
    void *sample = p->sample;

    place_close(p);
    free(p);
    return sample_teardown(&sample);
}

#define PLACE_TEST(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

/* Runs it with the store open, which stays open. */
static inline void place_run(struct place *p, co_fn body, void *arg)
{
    struct co_options options = { .max_tasks = 1000, .max_threads = 1 };
    struct loop *loop;

    if (!p->store)
        place_open(p);
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(co_run(loop, &options, body, arg), 0);
    loop_free(loop);
}
