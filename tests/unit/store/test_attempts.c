/* The packed form of attempts: what goes in comes out, and a damaged one is refused. */
#include "daemon/store/attempts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store/sample.h"

static struct job_spec spec = {
    .request = { .url = (char *)"http://a/", .method = (char *)"GET" },
    .collect = { .url = (char *)"http://b/", .method = (char *)"PUT" },
};

static const struct attempt rich = {
    .n = 100,
    .hop = 20,
    .step = STEP_COLLECT,
    .url = (char *)"http://elsewhere/%ED%95%9C",
    .method = (char *)"",
    .started_us = INT64_MAX,
    .lane_wait_us = 1,
    .dns_us = 2,
    .connect_us = PHASE_NOT_TAKEN,
    .tls_us = 127,
    .send_us = 128,
    .first_byte_us = 16383,
    .receive_us = 16384,
    .total_us = 1LL << 62,
    .reused = true,
    .http_version = 20,
    .remote = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
    .sent_bytes = 1LL << 40,
    .received_bytes = 9,
    .reached = PHASE_TLS,
    .status = 599,
    .error = { FAILURE_INTERNAL, PHASE_RESPONSE, true, (char *)"깨진 \"message\"\n" },
};

static const struct attempt poor = {
    .step = STEP_REQUEST,
    .url = (char *)"http://a/",
    .method = (char *)"GET",
};

static void free_attempts(struct attempt *attempts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        attempt_done(&attempts[i]);
    free(attempts);
}

static void pack_both(struct buf *to)
{
    struct attempt both[2] = { rich, poor };

    assert_int_equal(attempts_pack(both, 2, &spec, to), 0);
}

static void every_field_comes_back(void **state)
{
    struct attempt *all = NULL;
    struct buf packed = { 0 };
    size_t n = 0;

    (void)state;
    pack_both(&packed);
    assert_int_equal(attempts_unpack(packed.data, packed.n, &spec, &all, &n), 0);
    assert_int_equal(n, 2);
    sample_assert_same_attempt(&all[0], &rich);
    sample_assert_same_attempt(&all[1], &poor);
    assert_int_equal(attempts_unpack(packed.data, packed.n, &spec, &all, &n), 0);
    assert_int_equal(n, 4);
    sample_assert_same_attempt(&all[3], &poor);
    free_attempts(all, n);
    buf_done(&packed);
}

static void none_takes_no_room(void **state)
{
    struct attempt *all = NULL;
    struct buf packed = { 0 };
    size_t n = 0;

    (void)state;
    assert_int_equal(attempts_pack(NULL, 0, &spec, &packed), 0);
    assert_int_equal(packed.n, 0);
    assert_int_equal(attempts_unpack(NULL, 0, &spec, &all, &n), 0);
    assert_null(all);
}

static void what_the_spec_says_is_left_out(void **state)
{
    struct buf same = { 0 }, other = { 0 };
    struct attempt a = poor;

    (void)state;
    assert_int_equal(attempts_pack(&a, 1, &spec, &same), 0);
    a.url = (char *)"http://c/";
    assert_int_equal(attempts_pack(&a, 1, &spec, &other), 0);
    assert_int_equal(other.n, same.n + strlen("http://c/"));
    buf_done(&same);
    buf_done(&other);
}

static void a_cut_one_is_refused(void **state)
{
    struct buf packed = { 0 };
    size_t first;

    (void)state;
    assert_int_equal(attempts_pack(&rich, 1, &spec, &packed), 0);
    first = packed.n;
    packed.n = 0;
    pack_both(&packed);
    for (size_t size = 1; size < packed.n; size++) {
        struct attempt *all = NULL;
        size_t n = 0;
        char *cut = malloc(size); /* so that a read past its end is found */
        int rc;

        memcpy(cut, packed.data, size);
        rc = attempts_unpack(cut, size, &spec, &all, &n);
        assert_int_equal(rc, size == 1 || size == first ? 0 : -EBADMSG);
        free_attempts(all, n);
        free(cut);
    }
    buf_done(&packed);
}

static void a_changed_one_never_harms(void **state)
{
    struct buf packed = { 0 };

    (void)state;
    pack_both(&packed);
    for (size_t at = 0; at < packed.n * 8; at++) {
        struct attempt *all = NULL;
        size_t n = 0;
        int rc;

        packed.data[at / 8] ^= (char)(1 << at % 8);
        rc = attempts_unpack(packed.data, packed.n, &spec, &all, &n);
        assert_true(rc == 0 || rc == -EBADMSG);
        free_attempts(all, n);
        packed.data[at / 8] ^= (char)(1 << at % 8);
    }
    buf_done(&packed);
}

static void another_version_is_refused(void **state)
{
    struct attempt *all = NULL;
    size_t n = 0;

    (void)state;
    assert_int_equal(attempts_unpack("\2\1\1", 3, &spec, &all, &n), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_comes_back),
        cmocka_unit_test(none_takes_no_room),
        cmocka_unit_test(what_the_spec_says_is_left_out),
        cmocka_unit_test(a_cut_one_is_refused),
        cmocka_unit_test(a_changed_one_never_harms),
        cmocka_unit_test(another_version_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
