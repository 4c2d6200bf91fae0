/* What the tests of exchanges share: servers, rules, a transfer, and what is expected of an answer. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/transfer.h"
#include "dns_server.h"
#include "web_server.h"

#define MS        1000000LL
#define THREADS   2
#define BLOCKING  4 /* threads that block, and worker processes */
#define IDLE      4 /* connections kept by a thread */
#define FILE_NAME "the-body"
#define SPILLED   200000
#define MEMORY    (1024 * 1024)

struct test {
    struct loop *loop;
    struct web_server *web;
    struct dns_server *dns;
    struct egress *egress;
    struct transfer *transfer;
    char directory[32];
    int directory_fd;
    int64_t memory;
    bool (*more_space)(void *arg); /* `arg` is the test */
    unsigned n_more_space;         /* how often it was called */
    int (*body)(struct test *t);
    struct exchange x; /* what get() and send_to() send, but for what they are given */
    struct answer answer;
    char url[256];
};

/*
 * Runs `body` as a coroutine beside the servers; 127.0.0.0/8 but .13 and ::1 are allowed. `state` is
 * the test's: the executor of its exchanges.
 */
void with_memory(void **state, int (*body)(struct test *t), int64_t memory);
/* `more_space` is the transfer's. */
void with_space(void **state, int (*body)(struct test *t), bool (*more_space)(void *arg));
void with_transfer(void **state, int (*body)(struct test *t));

#define TRANSFER_TEST(name)                 \
    static int name##_body(struct test *t); \
    static void name(void **state)          \
    {                                       \
        with_transfer(state, name##_body);  \
    }                                       \
    static int name##_body(struct test *t)

/* The tests under one executor. How many failed. */
int run_under(enum executor executor, const struct CMUnitTest *tests, size_t n);
/* Under all of them. What every test program with exchanges calls first is worker_of_tests(). */
int run_under_all(const struct CMUnitTest *tests, size_t n);
/* The worker processes of a test program are that program. */
void worker_of_tests(int argc, char **argv);

/* One exchange with the scripted server under the name `host`; the answer is in t->answer. */
int send_to(
        struct test *t, const char *host, const char *method, const char *path, int64_t timeout_ns);
void get(struct test *t, const char *path);
/* The phases share the total, and those behind the one that failed did not happen. */
void check_phases(const struct attempt *a);
void expect_failure(struct test *t, enum failure failure, enum phase reached, bool safe);
void expect_body(struct test *t, const char *text);
bool has_file(struct test *t, const char *name, off_t *ret_size);
