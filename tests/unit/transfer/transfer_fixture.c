#include "transfer_fixture.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "daemon/transfer/worker.h"

static const struct dns_record script[] = {
    { "good.test", "127.0.0.1", 60, 0, 0 },
    { "second.test", "127.0.0.99 127.0.0.1", 60, 0, 0 },
    { "mixed.test", "127.0.0.1 10.0.0.1", 60, 0, 0 },
    { "private.test", "10.0.0.1", 60, 0, 0 },
    { "silent.test", "", 60, 0, 1 },
    { NULL, NULL, 0, 0, 0 },
};

static int transfer_body(void *arg)
{
    struct test *t = arg;
    struct transfer_options options = {
        .threads = THREADS,
        .idle_connections = THREADS * IDLE,
        .executor_threads = BLOCKING,
        .executor_processes = BLOCKING,
        .connect_timeout_us = 2 * CLOCK_US_PER_S,
        .body_memory_bytes = t->memory,
        .body_directory_fd = t->directory_fd,
        .more_space = t->more_space,
        .more_space_arg = t,
        .name_servers = dns_server_address(t->dns),
    };
    struct error why = { "" };
    int rc;

    assert_int_equal(transfer_new(t->loop, &options, t->egress, &t->transfer, &why), 0);
    rc = t->body(t);
    answer_done(&t->answer);
    transfer_free(t->transfer);
    return rc;
}

static void with_all(
        void **state, int (*body)(struct test *t), int64_t memory, bool (*more_space)(void *arg))
{
    static const char *const allow[] = { "127.0.0.0/8", "::1", NULL };
    static const char *const deny[] = { "127.0.0.13", NULL };
    struct egress_options rules = { .allow = allow, .deny = deny };
    struct co_options tasks = { .max_tasks = 1000, .max_threads = 2 };
    struct test t = {
        .body = body,
        .memory = memory,
        .more_space = more_space,
        .directory = "/tmp/test-transfer-XXXXXX",
    };
    struct error why;

    assert_non_null(mkdtemp(t.directory));
    t.directory_fd = open(t.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(egress_new(&rules, &t.egress, &why), 0);
    t.web = web_server_start();
    t.dns = dns_server_start(script);
    t.x.max_body_bytes = MEMORY;
    t.x.idempotent = true;
    t.x.executor = *(const enum executor *)*state;
    strcpy(t.x.file, FILE_NAME);
    assert_int_equal(loop_new(&t.loop), 0);
    assert_int_equal(co_run(t.loop, &tasks, transfer_body, &t), 0);
    loop_free(t.loop);
    web_server_stop(t.web);
    dns_server_stop(t.dns);
    egress_unref(t.egress);
    unlinkat(t.directory_fd, FILE_NAME, 0);
    close(t.directory_fd);
    assert_int_equal(rmdir(t.directory), 0);
}

void with_memory(void **state, int (*body)(struct test *t), int64_t memory)
{
    with_all(state, body, memory, NULL);
}

void with_transfer(void **state, int (*body)(struct test *t))
{
    with_all(state, body, MEMORY, NULL);
}

void with_space(void **state, int (*body)(struct test *t), bool (*more_space)(void *arg))
{
    with_all(state, body, MEMORY, more_space);
}

static enum executor executors[] = { EXECUTOR_COROUTINE, EXECUTOR_THREAD, EXECUTOR_PROCESS };

static int use_coroutines(void **state)
{
    *state = &executors[EXECUTOR_COROUTINE];
    return 0;
}

static int use_threads(void **state)
{
    *state = &executors[EXECUTOR_THREAD];
    return 0;
}

static int use_processes(void **state)
{
    *state = &executors[EXECUTOR_PROCESS];
    return 0;
}

int run_under(enum executor executor, const struct CMUnitTest *tests, size_t n)
{
    static const CMFixtureFunction uses[EXECUTOR_MAX] = { use_coroutines, use_threads,
        use_processes };

    if (executor == EXECUTOR_PROCESS && RUNNING_ON_VALGRIND)
        return 0; /* /proc/self/exe is Valgrind there */
    return _cmocka_run_group_tests(executor_name(executor), tests, n, uses[executor], NULL);
}

int run_under_all(const struct CMUnitTest *tests, size_t n)
{
    int failed = 0;

    for (int i = 0; i < EXECUTOR_MAX; i++)
        failed += run_under((enum executor)i, tests, n);
    return failed;
}

void worker_of_tests(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--worker") == 0)
        worker_main(WORKER_FD);
}

int send_to(
        struct test *t, const char *host, const char *method, const char *path, int64_t timeout_ns)
{
    snprintf(t->url, sizeof(t->url), "http://%s:%u%s", host, web_server_port(t->web), path);
    t->x.url = t->url;
    t->x.method = method;
    t->x.deadline_ns = clock_mono_ns() + timeout_ns;
    answer_done(&t->answer);
    return transfer_run(t->transfer, &t->x, &t->answer);
}

void get(struct test *t, const char *path)
{
    assert_int_equal(send_to(t, "127.0.0.1", "GET", path, 10000 * MS), 0);
}

void check_phases(const struct attempt *a)
{
    const int64_t phases[] = { a->dns_us, a->connect_us, a->tls_us, a->send_us, a->first_byte_us,
        a->receive_us };
    int64_t sum = 0;

    for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
        assert_true(phases[i] >= PHASE_NOT_TAKEN);
        if (phases[i] != PHASE_NOT_TAKEN)
            sum += phases[i];
    }
    assert_int_equal(sum, a->total_us);
    if (a->reached < PHASE_RESPONSE)
        assert_int_equal(a->receive_us, PHASE_NOT_TAKEN);
    if (a->reached < PHASE_REQUEST)
        assert_int_equal(a->send_us, PHASE_NOT_TAKEN);
}

void expect_failure(struct test *t, enum failure failure, enum phase reached, bool safe)
{
    const struct attempt *a = &t->answer.attempt;

    if (a->error.failure != failure || a->reached != reached)
        fail_msg("%s: failure %d in phase %d: %s", t->url, a->error.failure, a->reached,
                a->error.message ? a->error.message : "-");
    assert_int_equal(a->error.phase, reached);
    assert_int_equal(a->error.retry_safe, safe);
    assert_non_null(a->error.message);
    check_phases(a);
}

void expect_body(struct test *t, const char *text)
{
    assert_int_equal(t->answer.attempt.error.failure, FAILURE_NONE);
    assert_int_equal(t->answer.body.bytes, strlen(text));
    assert_memory_equal(t->answer.body.data, text, strlen(text));
    assert_false(t->answer.body.truncated);
    assert_string_equal(t->answer.body.file, "");
}

bool has_file(struct test *t, const char *name, off_t *ret_size)
{
    struct stat s;

    if (fstatat(t->directory_fd, name, &s, 0) < 0)
        return false;
    *ret_size = s.st_size;
    return true;
}
