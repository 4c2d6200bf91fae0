/* Channels: first in, first out, nothing lost, whoever is cancelled. */
#include "tests/unit/co/fixture.h"

#include <string.h>

static struct {
    struct co_channel channel;
    char got[64];
    int n_got, dropped;
} seen;

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    return 0;
}

static int send_all(void *arg)
{
    int rc = 0;

    for (const char *s = arg; *s && rc == 0; s++)
        rc = co_channel_send(&seen.channel, (void *)(intptr_t)*s);
    return rc;
}

static int receive_all(void *arg)
{
    void *item;
    int rc;

    while ((rc = co_channel_receive(&seen.channel, &item)) == 0) {
        seen.got[seen.n_got++] = (char)(intptr_t)item;
        if (arg)
            rc = co_yield();
    }
    return rc;
}

static int receive_one(void *arg)
{
    void *item;
    int rc = co_channel_receive(&seen.channel, &item);

    (void)arg;
    if (rc == 0)
        seen.got[seen.n_got++] = (char)(intptr_t)item;
    return rc;
}

static void count_dropped(void *item)
{
    (void)item;
    seen.dropped++;
}

static void pass_through(size_t capacity)
{
    struct co_task senders[2], receivers[2];

    reset(NULL);
    assert_int_equal(co_channel_init(&seen.channel, capacity), 0);
    receivers[0] = test_spawn(receive_all, NULL);
    senders[0] = test_spawn(send_all, "abcdefghij");
    receivers[1] = test_spawn(receive_all, &seen);
    senders[1] = test_spawn(send_all, "0123456789");
    assert_int_equal(co_gather(senders, 2, NULL, 0), 0);
    co_channel_close(&seen.channel, NULL);
    assert_int_equal(test_await(receivers[0]), -EPIPE);
    assert_int_equal(test_await(receivers[1]), -EPIPE);
    assert_int_equal(seen.n_got, 20);
    co_channel_done(&seen.channel);
}

CO_TEST(everything_that_is_sent_comes_through_once)
{
    for (size_t capacity = 0; capacity < 5; capacity++) {
        bool there[128] = { false };

        pass_through(capacity);
        for (int i = 0; i < 20; i++) {
            assert_false(there[(int)seen.got[i]]);
            there[(int)seen.got[i]] = true;
        }
    }
    return 0;
}

CO_TEST(items_come_in_the_order_of_sending)
{
    for (size_t capacity = 0; capacity < 4; capacity++) {
        struct co_task sender, receiver;

        reset(NULL);
        assert_int_equal(co_channel_init(&seen.channel, capacity), 0);
        sender = test_spawn(send_all, "abcdefghij");
        receiver = test_spawn(receive_all, NULL);
        assert_int_equal(test_await(sender), 0);
        co_channel_close(&seen.channel, NULL);
        assert_int_equal(test_await(receiver), -EPIPE);
        assert_string_equal(seen.got, "abcdefghij");
        co_channel_done(&seen.channel);
    }
    return 0;
}

CO_TEST(waiters_are_served_first_come_first_served)
{
    struct co_task t[3];

    assert_int_equal(co_channel_init(&seen.channel, 1), 0);
    t[0] = test_spawn(send_all, "ab");
    t[1] = test_spawn(send_all, "cd");
    t[2] = test_spawn(send_all, "ef");
    test_settle();
    assert_int_equal(co_channel_try_send(&seen.channel, NULL), -EAGAIN);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(test_await(test_spawn(receive_one, NULL)), 0);
        test_settle();
    }
    assert_string_equal(seen.got, "abcedf");
    assert_int_equal(co_gather(t, 3, NULL, 0), 0);
    co_channel_done(&seen.channel);
    return 0;
}

CO_TEST(without_waiting_there_is_room_or_there_is_not)
{
    void *item = NULL;

    assert_int_equal(co_channel_init(&seen.channel, 1), 0);
    assert_int_equal(co_channel_try_receive(&seen.channel, &item), -EAGAIN);
    assert_int_equal(co_channel_try_send(&seen.channel, &seen), 0);
    assert_int_equal(co_channel_try_send(&seen.channel, &seen), -EAGAIN);
    assert_int_equal(co_channel_try_receive(&seen.channel, &item), 0);
    assert_ptr_equal(item, &seen);
    co_channel_close(&seen.channel, NULL);
    assert_int_equal(co_channel_try_send(&seen.channel, &seen), -EPIPE);
    assert_int_equal(co_channel_try_receive(&seen.channel, &item), -EPIPE);
    co_channel_done(&seen.channel);
    return 0;
}

CO_TEST(a_closed_channel_gives_what_is_left)
{
    struct co_task sender;

    assert_int_equal(co_channel_init(&seen.channel, 3), 0);
    sender = test_spawn(send_all, "abcd");
    test_settle();
    co_channel_close(&seen.channel, NULL);
    assert_int_equal(test_await(sender), -EPIPE); /* d is not in */
    assert_int_equal(test_await(test_spawn(receive_all, NULL)), -EPIPE);
    assert_string_equal(seen.got, "abc");
    co_channel_done(&seen.channel);
    return 0;
}

CO_TEST(a_channel_closed_at_once_drops_what_is_left)
{
    struct co_task sender;

    assert_int_equal(co_channel_init(&seen.channel, 3), 0);
    sender = test_spawn(send_all, "abc");
    assert_int_equal(test_await(sender), 0);
    co_channel_close(&seen.channel, count_dropped);
    assert_int_equal(seen.dropped, 3);
    assert_int_equal(test_await(test_spawn(receive_one, NULL)), -EPIPE);
    co_channel_done(&seen.channel);
    return 0;
}

CO_TEST(what_was_handed_over_is_received_though_cancelled_then)
{
    struct co_task t;

    assert_int_equal(co_channel_init(&seen.channel, 1), 0);
    t = test_spawn(receive_one, NULL);
    test_settle();
    assert_int_equal(co_channel_send(&seen.channel, (void *)'x'), 0);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), 0);
    assert_string_equal(seen.got, "x");
    co_channel_done(&seen.channel);
    return 0;
}

CO_TEST(a_cancelled_receiver_takes_nothing)
{
    struct co_task a, b;

    assert_int_equal(co_channel_init(&seen.channel, 1), 0);
    a = test_spawn(receive_one, NULL);
    b = test_spawn(receive_one, NULL);
    test_settle();
    assert_int_equal(co_cancel(a), 0); /* which has not run yet when the item comes */
    assert_int_equal(co_channel_send(&seen.channel, (void *)'x'), 0);
    assert_int_equal(test_await(a), -ECANCELED);
    assert_int_equal(test_await(b), 0);
    assert_string_equal(seen.got, "x");
    co_channel_done(&seen.channel);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(everything_that_is_sent_comes_through_once, reset),
        cmocka_unit_test_setup(items_come_in_the_order_of_sending, reset),
        cmocka_unit_test_setup(waiters_are_served_first_come_first_served, reset),
        cmocka_unit_test_setup(without_waiting_there_is_room_or_there_is_not, reset),
        cmocka_unit_test_setup(a_closed_channel_gives_what_is_left, reset),
        cmocka_unit_test_setup(a_channel_closed_at_once_drops_what_is_left, reset),
        cmocka_unit_test_setup(what_was_handed_over_is_received_though_cancelled_then, reset),
        cmocka_unit_test_setup(a_cancelled_receiver_takes_nothing, reset),
    };

    return cmocka_run_group_tests_name("co/channel", tests, NULL, NULL);
}
