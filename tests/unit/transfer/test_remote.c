/* What the daemon makes of workers that lie: this program is one when it is started as a worker. */
#include "transfer_fixture.h"

#include <sys/socket.h>

#include "daemon/base/buf.h"
#include "daemon/transfer/order.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/report.h"
#include "daemon/transfer/wire.h"
#include "daemon/transfer/worker.h"

#define EXIT_OF_LIAR 7

static void liar_read(struct buf *b, struct wire_view *ret)
{
    size_t missing;

    b->n = 0;
    while ((missing = wire_missing(b->data, b->n)) > 0) {
        ssize_t n;

        if (buf_reserve(b, missing) < 0)
            _exit(1);
        n = recv(WORKER_FD, b->data + b->n, missing, 0);
        if (n <= 0)
            _exit(1);
        b->n += (size_t)n;
    }
    if (wire_next(b->data, b->n, SIZE_MAX, ret) <= 0)
        _exit(1);
}

static void liar_say(struct buf *b)
{
    (void)!send(WORKER_FD, b->data, b->n, MSG_NOSIGNAL);
    b->n = 0;
}

static void liar_ready(struct buf *b, int64_t rc)
{
    struct wire w;

    wire_begin(&w, b, WIRE_READY);
    wire_put(&w, rc);
    wire_end(&w);
}

static void liar_asked(struct buf *b)
{
    struct wire w;

    wire_begin(&w, b, WIRE_ASKED);
    wire_put_text(&w, "127.0.0.1:1");
    wire_put(&w, 0);
    wire_end(&w);
}

static void liar_report(struct buf *b, enum failure failure, enum phase reached, bool safe)
{
    struct answer a = { 0 };

    attempt_init(&a.attempt);
    a.attempt.reached = reached;
    if (failure != FAILURE_NONE)
        outcome_fail(&a.attempt, failure, reached, safe, "a lie");
    report_put(b, &a);
}

/* What it says to the path that it is sent to. */
static void liar_answer(struct buf *b, const char *path, bool first)
{
    if (strcmp(path, "/early") == 0) {
        liar_asked(b);
        return;
    }
    if (first)
        liar_ready(b, strcmp(path, "/unfit") == 0        ? -EPERM
                      : strcmp(path, "/unheard-of") == 0 ? -4095
                                                         : 0);
    if (strcmp(path, "/safe") == 0) {
        liar_asked(b);
        liar_report(b, FAILURE_CONNECTION_RESET, PHASE_REQUEST, true);
    } else if (strcmp(path, "/unsafe") == 0) {
        liar_report(b, FAILURE_CONNECTION_REFUSED, PHASE_CONNECT, false);
    } else if (strcmp(path, "/judge") == 0) {
        liar_asked(b);
        liar_report(b, FAILURE_UNEXPECTED_STATUS, PHASE_RESPONSE, true);
    } else if (strcmp(path, "/unasked") == 0) {
        liar_report(b, FAILURE_NONE, PHASE_RESPONSE, false);
    }
}

/* An order at a time, until it is killed. */
__attribute__((noreturn)) static void liar_main(void)
{
    struct buf in = { 0 }, out = { 0 };
    struct wire_view v;
    struct order o;

    liar_read(&in, &v); /* WIRE_HELLO */
    for (bool first = true;; first = false) {
        const char *path;

        liar_read(&in, &v);
        if (order_get(&v, &o) < 0)
            _exit(1);
        path = strrchr(o.x.url, '/');
        if (strcmp(path, "/gone") == 0)
            _exit(EXIT_OF_LIAR);
        liar_answer(&out, path, first);
        liar_say(&out);
        if (strcmp(path, "/mute") == 0) {
            close(WORKER_FD);
            pause();
        }
    }
}

static const struct job_error *lied_to(struct test *t, const char *path, bool idempotent)
{
    t->x.idempotent = idempotent;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", path, 60000 * MS), 0);
    return &t->answer.attempt.error;
}

static void expect_sentence(struct test *t, const char *path, const char *message)
{
    const struct job_error *e = lied_to(t, path, true);

    assert_int_equal(e->failure, FAILURE_INTERNAL);
    assert_string_equal(e->message, message);
}

TRANSFER_TEST(test_why_a_worker_was_lost)
{
    expect_sentence(t, "/early", "the worker process was given up: Protocol error");
    expect_sentence(t, "/unfit", "the worker process can't be shut in: Operation not permitted");
    expect_sentence(t, "/unheard-of", "the worker process can't be shut in: unknown error");
    expect_sentence(t, "/gone", "the worker process ended with status 7");
    expect_sentence(t, "/mute", "the worker process closed its socket");
    return 0;
}

/* Only the daemon knows what may be repeated. */
TRANSFER_TEST(test_a_worker_does_not_say_what_is_safe)
{
    const struct job_error *e = lied_to(t, "/safe", false);

    assert_int_equal(e->failure, FAILURE_CONNECTION_RESET);
    assert_false(e->retry_safe);
    assert_true(lied_to(t, "/safe", true)->retry_safe);
    e = lied_to(t, "/unsafe", false);
    assert_int_equal(e->failure, FAILURE_CONNECTION_REFUSED);
    assert_true(e->retry_safe);
    return 0;
}

TRANSFER_TEST(test_what_a_worker_can_not_know_is_refused)
{
    const struct job_error *e = lied_to(t, "/judge", false);

    assert_int_equal(e->failure, FAILURE_OUTCOME_UNKNOWN);
    assert_string_equal(e->message, "the worker process was given up: Protocol error");
    expect_sentence(t, "/unasked", "the worker process was given up: Protocol error");
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_why_a_worker_was_lost),
        cmocka_unit_test(test_a_worker_does_not_say_what_is_safe),
        cmocka_unit_test(test_what_a_worker_can_not_know_is_refused),
    };

    if (argc == 2 && strcmp(argv[1], "--worker") == 0)
        liar_main();
    return run_under(EXECUTOR_PROCESS, tests, ARRAY_LEN(tests));
}
