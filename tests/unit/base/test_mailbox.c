#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/mailbox.h"

#define N_THREADS 3
#define N         2000

struct letter {
    struct mail mail;
    int number;
};

static struct mailbox box;
static struct letter letters[N_THREADS][N];
static int received;

static void deliver(struct mail *m)
{
    (void)m;
    received++;
}

static bool readable(void)
{
    struct pollfd p = { .fd = box.event_fd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void keeps_the_order_and_says_when_something_waits(void **state)
{
    struct letter a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 };
    struct mail *m;

    (void)state;
    assert_int_equal(mailbox_init(&box), 0);
    assert_false(readable());
    assert_null(mailbox_take(&box));
    mailbox_post(&box, &a.mail);
    b.mail.next = &c.mail;
    mailbox_post_chain(&box, &b.mail, &c.mail);
    assert_true(readable());
    mailbox_wait(&box, -1);
    m = mailbox_take(&box);
    assert_false(readable());
    assert_ptr_equal(m, &a.mail);
    assert_ptr_equal(m->next, &b.mail);
    assert_ptr_equal(m->next->next, &c.mail);
    assert_null(m->next->next->next);
    mailbox_done(&box);
}

static void post_again(struct mail *m)
{
    if (++received < 3)
        mailbox_post(&box, m);
}

static void mail_may_be_posted_again_while_delivered(void **state)
{
    struct mail m = { .deliver = post_again };

    (void)state;
    received = 0;
    assert_int_equal(mailbox_init(&box), 0);
    mailbox_post(&box, &m);
    mailbox_deliver(&box);
    assert_int_equal(received, 1);
    assert_true(readable());
    mailbox_deliver(&box);
    mailbox_deliver(&box);
    assert_int_equal(received, 3);
    assert_false(readable());
    mailbox_done(&box);
}

static void *post_all(void *arg)
{
    struct letter *l = arg;

    for (int i = 0; i < N; i++)
        mailbox_post(&box, &l[i].mail);
    return NULL;
}

static void takes_mail_of_many_threads(void **state)
{
    pthread_t threads[N_THREADS];

    (void)state;
    received = 0;
    assert_int_equal(mailbox_init(&box), 0);
    for (int t = 0; t < N_THREADS; t++) {
        for (int i = 0; i < N; i++)
            letters[t][i] = (struct letter){ .mail.deliver = deliver };
        assert_int_equal(pthread_create(&threads[t], NULL, post_all, letters[t]), 0);
    }
    while (received < N_THREADS * N) {
        mailbox_wait(&box, -1);
        mailbox_deliver(&box);
    }
    for (int t = 0; t < N_THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    assert_null(mailbox_take(&box));
    assert_int_equal(received, N_THREADS * N);
    mailbox_done(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_order_and_says_when_something_waits),
        cmocka_unit_test(mail_may_be_posted_again_while_delivered),
        cmocka_unit_test(takes_mail_of_many_threads),
    };

    return cmocka_run_group_tests_name("base/mailbox", tests, NULL, NULL);
}
