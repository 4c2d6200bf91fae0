/* The change from one stack to another, by itself: all that the ABI lets a caller rely on. */
#include "tests/unit/co/fixture.h"

#include <execinfo.h>
#include <sys/mman.h>

#include "daemon/co/sanitizer.h"
#include "daemon/co/switch.h"

#define STACK_SIZE ((size_t)256 << 10)
#define ROUNDS     1000
#define FRAMES     64

struct sums {
    long ints;
    double floats;
};

/* A context, and the one that it goes back to. */
struct side {
    char *stack;
    unsigned valgrind;
    void *sp, *home;
    struct sanitizer sanitizer, home_sanitizer;
    struct sums sums;
    uintptr_t frame;
    void *frames[FRAMES];
    int n_frames;
};

static int side_resume(struct side *s, int rc)
{
    sanitizer_leave(&s->home_sanitizer, &s->sanitizer, false);
    rc = co_switch(&s->home, s->sp, rc);
    sanitizer_arrive(&s->home_sanitizer, &s->home_sanitizer);
    return rc;
}

static int side_yield(struct side *s, int rc)
{
    sanitizer_leave(&s->sanitizer, &s->home_sanitizer, false);
    rc = co_switch(&s->sp, s->home, rc);
    sanitizer_arrive(&s->sanitizer, &s->home_sanitizer);
    return rc;
}

static void side_end(struct side *s)
{
    sanitizer_leave(&s->sanitizer, &s->home_sanitizer, true);
    co_switch(&s->sp, s->home, 0);
}

static void side_begin(struct side *s, void (*fn)(void *arg))
{
    *s = (struct side){ 0 };
    s->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(s->stack != MAP_FAILED);
    s->valgrind = SANITIZER_STACK_REGISTER(s->stack, s->stack + STACK_SIZE - 1);
    sanitizer_home(&s->home_sanitizer);
    sanitizer_born(&s->sanitizer, s->stack, STACK_SIZE);
    s->sp = co_switch_make(s->stack, s->stack + STACK_SIZE, fn, s);
}

static void side_done(struct side *s)
{
    SANITIZER_STACK_DEREGISTER(s->valgrind);
    sanitizer_clean(s->stack, STACK_SIZE);
    munmap(s->stack, STACK_SIZE);
}

/* More values at a time than a call has to keep registers; each depends on all that change() returned. */
static struct sums work(
        struct side *s, int (*change)(struct side *s, int rc), const volatile int *seed)
{
    long a = seed[0], b = seed[1], c = seed[2], d = seed[3], e = seed[4], f = seed[5], g = seed[6],
         h = seed[7], i = seed[8], j = seed[9];
    double p = seed[0], q = seed[1], r = seed[2], t = seed[3], u = seed[4], v = seed[5],
           x = seed[6], y = seed[7];

    for (int n = 0; n < ROUNDS; n++) {
        int got = change(s, -n);

        a = (a ^ got) + 1, b = (b ^ got) + 2, c = (c ^ got) + 3, d = (d ^ got) + 4;
        e = (e ^ got) + 5, f = (f ^ got) + 6, g = (g ^ got) + 7, h = (h ^ got) + 8;
        i = (i ^ got) + 9, j = (j ^ got) + 10;
        p = p / 2 + got, q = q / 3 + got, r = r / 4 + got, t = t / 5 + got;
        u = u / 6 + got, v = v / 7 + got, x = x / 8 + got, y = y / 9 + got;
    }
    return (struct sums){ .ints = a + b * 3 + c * 5 + d * 7 + e * 11 + f * 13 + g * 17 + h * 19 +
                                  i * 23 + j * 29,
        .floats = p + q * 3 + r * 5 + t * 7 + u * 11 + v * 13 + x * 17 + y * 19 };
}

static const int home_seed[10] = { 11, 22, 33, 44, 55, 66, 77, 88, 99, 111 };
static const int side_seed[10] = { -5, -15, -25, -35, -45, -55, -65, -75, -85, -95 };

/* What side_resume() and side_yield() return when both sides pass 0, -1, -2 …: the same, and the next. */
static int get_same(struct side *s, int rc)
{
    (void)s;
    return rc;
}

static int get_next(struct side *s, int rc)
{
    (void)s;
    return rc - 1;
}

static void work_aside(void *arg)
{
    struct side *s = arg;

    sanitizer_arrive(&s->sanitizer, &s->home_sanitizer);
    s->sums = work(s, side_yield, side_seed);
    side_end(s);
}

static void both_sides_keep_their_registers_and_get_the_others_value(void **state)
{
    struct sums sums, expected = work(NULL, get_same, home_seed),
                      aside = work(NULL, get_next, side_seed);
    struct side s;

    (void)state;
    side_begin(&s, work_aside);
    sums = work(&s, side_resume, home_seed);
    side_resume(&s, -ROUNDS);
    assert_int_equal(sums.ints, expected.ints);
    assert_true(sums.floats == expected.floats);
    assert_int_equal(s.sums.ints, aside.ints);
    assert_true(s.sums.floats == aside.floats);
    side_done(&s);
}

static void look_around(void *arg)
{
    struct side *s = arg;

    sanitizer_arrive(&s->sanitizer, &s->home_sanitizer);
    s->frame = (uintptr_t)__builtin_frame_address(0);
    s->n_frames = backtrace(s->frames, FRAMES);
    side_end(s);
}

static void a_context_begins_at_the_top_of_an_aligned_stack(void **state)
{
    struct side s;

    (void)state;
    side_begin(&s, look_around);
    side_resume(&s, 0);
    assert_int_equal(s.frame % 16, 0);
    assert_in_range(s.frame, s.stack + STACK_SIZE - 2048, s.stack + STACK_SIZE - 16);
    side_done(&s);
}

/* It would go on into whatever lies there, and so would a debugger. */
static void unwinding_ends_where_the_context_began(void **state)
{
    struct side s;

    (void)state;
    side_begin(&s, look_around);
    side_resume(&s, 0);
    assert_in_range(s.n_frames, 1, 8);
    side_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_keep_their_registers_and_get_the_others_value),
        cmocka_unit_test(a_context_begins_at_the_top_of_an_aligned_stack),
        cmocka_unit_test(unwinding_ends_where_the_context_began),
    };

    return cmocka_run_group_tests_name("co/switch", tests, NULL, NULL);
}
