/* What is different about threads that block and worker processes; the rest is in the other tests. */
#include "transfer_fixture.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#define MANY 64

struct one {
    struct test *test;
    const char *path;
    int64_t timeout_ns;
    bool idempotent;
    struct answer answer;
    int rc;
    struct co_task task;
};

static int run_one(void *arg)
{
    struct one *o = arg;
    struct exchange x = o->test->x;
    char url[256];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", web_server_port(o->test->web), o->path);
    x.url = url;
    x.method = "POST";
    x.idempotent = o->idempotent;
    x.deadline_ns = clock_mono_ns() + o->timeout_ns;
    o->rc = transfer_run(o->test->transfer, &x, &o->answer);
    return 0;
}

static int await_requests(void *arg)
{
    struct one *o = arg;

    web_server_await(o->test->web, (unsigned)o->rc);
    return 0;
}

/* Starts it, and waits until the server has that many requests. */
static void start(struct test *t, struct one *o, const char *path, unsigned requests)
{
    struct one waiting = { .test = t, .rc = (int)requests };

    *o = (struct one){ .test = t, .path = path, .timeout_ns = 60000 * MS };
    assert_int_equal(co_spawn("exchange", run_one, o, &o->task), 0);
    assert_int_equal(co_to_thread(await_requests, &waiting, NULL), 0);
}

static void cancel(struct one *o)
{
    assert_int_equal(co_cancel(o->task), 0);
    (void)co_await(o->task, NULL);
    assert_int_equal(o->rc, -ECANCELED);
    assert_int_equal(o->answer.attempt.error.failure, FAILURE_CANCELLED);
    answer_done(&o->answer);
}

/* This program's children, dead ones too; the last that was found in *ret. */
static unsigned children(pid_t *ret)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    unsigned n = 0;

    assert_non_null(proc);
    while ((entry = readdir(proc))) {
        char path[300], text[512] = "";
        int parent = 0, fd;

        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        fd = atoi(entry->d_name) > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        (void)!read(fd, text, sizeof(text) - 1);
        close(fd);
        if (sscanf(text, "%*d (%*[^)]) %*c %d", &parent) == 1 && parent == getpid()) {
            *ret = atoi(entry->d_name);
            n++;
        }
    }
    closedir(proc);
    return n;
}

static unsigned descriptors(void)
{
    DIR *fds = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(fds);
    while (readdir(fds))
        n++;
    closedir(fds);
    return n;
}

static void expect_none_left(void)
{
    pid_t pid;

    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(children(&pid), 0);
}

TRANSFER_TEST(test_many_over_few)
{
    struct one *many = calloc(MANY, sizeof(*many));

    assert_non_null(many);
    for (size_t i = 0; i < MANY; i++) {
        many[i] = (struct one){ .test = t, .path = "/ok", .timeout_ns = 30000 * MS };
        assert_int_equal(co_spawn("exchange", run_one, &many[i], &many[i].task), 0);
    }
    for (size_t i = 0; i < MANY; i++) {
        (void)co_await(many[i].task, NULL);
        assert_int_equal(many[i].rc, 0);
        assert_int_equal(many[i].answer.attempt.status, 200);
        assert_int_equal(many[i].answer.body.bytes, 5);
        check_phases(&many[i].answer.attempt);
        answer_done(&many[i].answer);
    }
    assert_int_equal(web_server_requests(t->web), MANY);
    if (t->x.executor != EXECUTOR_COROUTINE)
        assert_true(web_server_connections(t->web) <= BLOCKING);
    free(many);
    return 0;
}

TRANSFER_TEST(test_a_turn_that_does_not_come)
{
    struct one busy[BLOCKING];
    struct one late;

    for (unsigned i = 0; i < BLOCKING; i++)
        start(t, &busy[i], "/silent", i + 1);
    start(t, &late, "/ok", BLOCKING);
    cancel(&late);
    assert_int_equal(send_to(t, "127.0.0.1", "GET", "/ok", 50 * MS), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_NONE, true);
    start(t, &late, "/ok", BLOCKING);
    cancel(&busy[0]);
    (void)co_await(late.task, NULL);
    assert_int_equal(late.answer.attempt.status, 200);
    answer_done(&late.answer);
    for (unsigned i = 1; i < BLOCKING; i++)
        cancel(&busy[i]);
    assert_int_equal(web_server_requests(t->web), BLOCKING + 1);
    return 0;
}

/* The best of some: a blocking curl_easy_perform() would take up to a second, again and again. */
TRANSFER_TEST(test_a_cancel_is_prompt)
{
    int64_t best_ns = CLOCK_NEVER;

    for (unsigned i = 0; i < 3; i++) {
        struct one o;
        int64_t begun_ns;

        start(t, &o, "/silent", i + 1);
        begun_ns = clock_mono_ns();
        cancel(&o);
        if (clock_mono_ns() - begun_ns < best_ns)
            best_ns = clock_mono_ns() - begun_ns;
    }
    assert_true(best_ns < 50 * MS);
    get(t, "/ok");
    expect_body(t, "hello");
    return 0;
}

TRANSFER_TEST(test_a_stray_answer_is_not_for_the_next_exchange)
{
    get(t, "/twice");
    expect_body(t, "hello");
    web_server_send_again(t->web);
    get(t, "/ok");
    expect_body(t, "hello");
    assert_false(t->answer.attempt.reused);
    assert_int_equal(web_server_connections(t->web), 2);
    return 0;
}

TRANSFER_TEST(test_workers_are_there_when_they_are_needed)
{
    pid_t pid, again;

    assert_int_equal(children(&pid), 0);
    get(t, "/ok");
    assert_int_equal(children(&pid), 1);
    get(t, "/ok");
    assert_int_equal(children(&again), 1);
    assert_int_equal(again, pid);
    return 0;
}

static void expect_status(pid_t pid, const char *line)
{
    char path[64], text[4096] = "";
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    (void)!read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_non_null(strstr(text, line));
}

TRANSFER_TEST(test_a_worker_is_shut_in)
{
    pid_t pid;

    get(t, "/ok");
    assert_int_equal(children(&pid), 1);
    expect_status(pid, "\nNoNewPrivs:\t1\n");
    expect_status(pid, "\nSeccomp:\t2\n");
    return 0;
}

static void expect_lost(struct one *o, enum failure failure, bool safe)
{
    const struct attempt *a = &o->answer.attempt;

    (void)co_await(o->task, NULL);
    assert_int_equal(o->rc, 0);
    assert_int_equal(a->error.failure, failure);
    assert_int_equal(a->error.retry_safe, safe);
    assert_int_equal(a->reached, PHASE_REQUEST);
    assert_int_equal(a->status, 0);
    assert_int_equal(strncmp(a->remote, "127.0.0.1:", 10), 0);
    assert_non_null(strstr(a->error.message, "the worker process was killed by signal 9"));
    assert_int_equal(o->answer.body.bytes, 0);
    check_phases(a);
    answer_done(&o->answer);
}

TRANSFER_TEST(test_a_dead_worker_fails_one_attempt)
{
    struct one first, other;
    pid_t pid, left;

    start(t, &first, "/silent", 1);
    assert_int_equal(children(&pid), 1);
    start(t, &other, "/silent", 2);
    assert_int_equal(children(&left), 2);
    assert_int_equal(kill(pid, SIGKILL), 0);
    expect_lost(&first, FAILURE_OUTCOME_UNKNOWN, false);
    assert_int_equal(children(&left), 1);
    get(t, "/ok");
    expect_body(t, "hello");
    cancel(&other);
    return 0;
}

TRANSFER_TEST(test_a_dead_worker_in_the_body)
{
    struct one o = { .test = t, .path = "/stuck", .timeout_ns = 60000 * MS, .idempotent = true };
    struct one waiting = { .test = t, .rc = 1 };
    off_t size;
    pid_t pid;

    assert_int_equal(co_spawn("exchange", run_one, &o, &o.task), 0);
    assert_int_equal(co_to_thread(await_requests, &waiting, NULL), 0);
    assert_int_equal(children(&pid), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    expect_lost(&o, FAILURE_INTERNAL, true);
    assert_false(has_file(t, FILE_NAME, &size));
    return 0;
}

TRANSFER_TEST(test_dead_workers_leave_nothing)
{
    unsigned before = 0;

    for (int i = 0; i < 5; i++) {
        siginfo_t info;
        pid_t pid;

        get(t, "/ok");
        expect_body(t, "hello");
        assert_int_equal(children(&pid), 1);
        if (i == 0)
            before = descriptors();
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    }
    get(t, "/ok");
    expect_body(t, "hello");
    assert_int_equal(descriptors(), before);
    return 0;
}

/* A worker that hears nothing any more is ended for good. */
TRANSFER_TEST(test_a_worker_that_does_not_react)
{
    struct one o;
    pid_t pid;

    start(t, &o, "/silent", 1);
    assert_int_equal(children(&pid), 1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    cancel(&o);
    assert_int_equal(children(&pid), 0);
    get(t, "/ok");
    expect_body(t, "hello");
    return 0;
}

/* What a terminal or a service manager tells the daemon. */
TRANSFER_TEST(test_signals_for_the_daemon_do_not_end_workers)
{
    struct one o;
    pid_t pid;

    start(t, &o, "/silent", 1);
    assert_int_equal(children(&pid), 1);
    kill(pid, SIGTERM);
    kill(pid, SIGINT);
    kill(pid, SIGHUP);
    cancel(&o);
    assert_int_equal(children(&pid), 1);
    return 0;
}

static void test_no_worker_outlives_its_daemon(void **state)
{
    (void)state;
    expect_none_left();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest of_all[] = {
        cmocka_unit_test(test_many_over_few),
        cmocka_unit_test(test_a_cancel_is_prompt),
    };
    const struct CMUnitTest of_blocking[] = {
        cmocka_unit_test(test_a_turn_that_does_not_come),
        cmocka_unit_test(test_a_stray_answer_is_not_for_the_next_exchange),
    };
    const struct CMUnitTest of_processes[] = {
        cmocka_unit_test(test_workers_are_there_when_they_are_needed),
        cmocka_unit_test(test_a_worker_is_shut_in),
        cmocka_unit_test(test_a_dead_worker_fails_one_attempt),
        cmocka_unit_test(test_a_dead_worker_in_the_body),
        cmocka_unit_test(test_dead_workers_leave_nothing),
        cmocka_unit_test(test_a_worker_that_does_not_react),
        cmocka_unit_test(test_signals_for_the_daemon_do_not_end_workers),
        cmocka_unit_test(test_no_worker_outlives_its_daemon),
    };

    worker_of_tests(argc, argv);
    return run_under(EXECUTOR_THREAD, of_blocking, ARRAY_LEN(of_blocking)) +
           run_under(EXECUTOR_PROCESS, of_blocking, ARRAY_LEN(of_blocking)) +
           run_under(EXECUTOR_PROCESS, of_processes, ARRAY_LEN(of_processes)) +
           run_under_all(of_all, ARRAY_LEN(of_all));
}
