/* Lanes: limits are exact, order is fair, and nothing is lost when limits change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/engine/lane.h"
#include "daemon/engine/service.h"

#define JOBS_MAX 64

struct fake {
    struct lane_entry entry;
    char name;
};

static char admitted[JOBS_MAX + 1];

static void note_admitted(struct lane_entry *e)
{
    size_t n = strlen(admitted);

    admitted[n] = CONTAINER_OF(e, struct fake, entry)->name;
    admitted[n + 1] = 0;
}

static void fake_init(struct fake *f, char name)
{
    f->name = name;
    lane_entry_init(&f->entry, note_admitted);
}

static void enter(struct lanes *l, struct fake *f, char name, const char *origin, int priority)
{
    fake_init(f, name);
    assert_int_equal(lane_enter(l, &f->entry, origin, priority, false), 0);
}

static void leave(struct lanes *l, struct fake *f)
{
    lane_leave(l, &f->entry);
    lanes_return_slot(l);
}

static int setup(void **state)
{
    (void)state;
    admitted[0] = 0;
    return 0;
}

static void a_lane_admits_up_to_its_limit(void **state)
{
    struct lanes l;
    struct fake f[4];

    (void)state;
    assert_int_equal(lanes_init(&l, 10, 2, NULL, 0), 0);
    lanes_open(&l);
    for (int i = 0; i < 4; i++)
        enter(&l, &f[i], (char)('a' + i), "http://one:80", 0);
    assert_string_equal(admitted, "ab");
    leave(&l, &f[1]);
    assert_string_equal(admitted, "abc");
    leave(&l, &f[0]);
    leave(&l, &f[2]);
    leave(&l, &f[3]);
    assert_string_equal(admitted, "abcd");
    assert_int_equal(l.free_slots, 10);
    assert_int_equal(l.by_origin.n, 0);
    lanes_done(&l);
}

static void a_configured_origin_has_its_own_limit(void **state)
{
    const struct lane_options options[] = { { "http://two:80", 3 }, { "http://one:80", 1 } };
    struct lanes l;
    struct fake f[6];

    (void)state;
    assert_int_equal(lanes_init(&l, 10, 2, options, ARRAY_LEN(options)), 0);
    lanes_open(&l);
    for (int i = 0; i < 3; i++)
        enter(&l, &f[i], (char)('a' + i), "http://one:80", 0);
    for (int i = 3; i < 6; i++)
        enter(&l, &f[i], (char)('a' + i), "http://two:80", 0);
    assert_string_equal(admitted, "adef");
    for (int i = 0; i < 6; i++)
        leave(&l, &f[i]);
    lanes_done(&l);
}

static void higher_priority_goes_first_then_first_come(void **state)
{
    struct lanes l;
    struct fake f[5];

    (void)state;
    assert_int_equal(lanes_init(&l, 10, 1, NULL, 0), 0);
    lanes_open(&l);
    enter(&l, &f[0], 'a', "http://one:80", 0);
    enter(&l, &f[1], 'b', "http://one:80", 0);
    enter(&l, &f[2], 'c', "http://one:80", -5);
    enter(&l, &f[3], 'd', "http://one:80", 9);
    enter(&l, &f[4], 'e', "http://one:80", 9);
    for (const char *p = "adeb"; *p; p++)
        leave(&l, &f[*p - 'a']);
    assert_string_equal(admitted, "adebc");
    leave(&l, &f[2]);
    lanes_done(&l);
}

static void lanes_take_turns_when_slots_are_few(void **state)
{
    struct lanes l;
    struct fake f[6];

    (void)state;
    assert_int_equal(lanes_init(&l, 1, 32, NULL, 0), 0);
    for (int i = 0; i < 5; i++)
        enter(&l, &f[i], (char)('a' + i), "http://busy:80", 0);
    enter(&l, &f[5], 'y', "http://small:80", 0);
    assert_string_equal(admitted, "");
    lanes_open(&l);
    for (int i = 0; i < 6; i++) {
        char last = admitted[strlen(admitted) - 1];

        leave(&l, &f[last == 'y' ? 5 : last - 'a']);
    }
    assert_string_equal(admitted, "aybcde");
    lanes_done(&l);
}

static void who_has_a_slot_needs_only_a_permit_and_goes_first(void **state)
{
    struct lanes l;
    struct fake f[3];

    (void)state;
    assert_int_equal(lanes_init(&l, 1, 1, NULL, 0), 0);
    lanes_open(&l);
    enter(&l, &f[0], 'a', "http://one:80", 0);
    enter(&l, &f[1], 'b', "http://two:80", 0);
    /* `a` is redirected: it gives its permit back and asks for one of the other origin. */
    lane_leave(&l, &f[0].entry);
    assert_int_equal(lane_enter(&l, &f[0].entry, "http://two:80", 0, true), 0);
    assert_string_equal(admitted, "aa");
    leave(&l, &f[0]);
    assert_string_equal(admitted, "aab");
    leave(&l, &f[1]);
    lanes_done(&l);
}

static void a_raised_limit_admits_at_once_a_lowered_one_later(void **state)
{
    struct lanes l;
    struct fake f[5];

    (void)state;
    assert_int_equal(lanes_init(&l, 10, 1, NULL, 0), 0);
    lanes_open(&l);
    for (int i = 0; i < 5; i++)
        enter(&l, &f[i], (char)('a' + i), "http://one:80", 0);
    assert_string_equal(admitted, "a");
    assert_int_equal(lanes_set_limits(&l, 3, NULL, 0), 0);
    assert_string_equal(admitted, "abc");
    assert_int_equal(lanes_set_limits(&l, 1, NULL, 0), 0);
    leave(&l, &f[0]);
    leave(&l, &f[1]);
    assert_string_equal(admitted, "abc");
    leave(&l, &f[2]);
    assert_string_equal(admitted, "abcd");
    leave(&l, &f[3]);
    leave(&l, &f[4]);
    lanes_done(&l);
}

static void who_withdraws_is_not_admitted(void **state)
{
    struct lanes l;
    struct fake f[3];

    (void)state;
    assert_int_equal(lanes_init(&l, 10, 1, NULL, 0), 0);
    lanes_open(&l);
    for (int i = 0; i < 3; i++)
        enter(&l, &f[i], (char)('a' + i), "http://one:80", 0);
    lane_withdraw(&l, &f[1].entry);
    lane_withdraw(&l, &f[1].entry);
    leave(&l, &f[0]);
    leave(&l, &f[2]);
    assert_string_equal(admitted, "ac");
    assert_int_equal(l.by_origin.n, 0);
    lanes_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_lane_admits_up_to_its_limit, setup),
        cmocka_unit_test_setup(a_configured_origin_has_its_own_limit, setup),
        cmocka_unit_test_setup(higher_priority_goes_first_then_first_come, setup),
        cmocka_unit_test_setup(lanes_take_turns_when_slots_are_few, setup),
        cmocka_unit_test_setup(who_has_a_slot_needs_only_a_permit_and_goes_first, setup),
        cmocka_unit_test_setup(a_raised_limit_admits_at_once_a_lowered_one_later, setup),
        cmocka_unit_test_setup(who_withdraws_is_not_admitted, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
