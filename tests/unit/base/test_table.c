#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "daemon/base/table.h"

#define N 5000

struct thing {
    int key;
    struct table_node node;
};

static struct thing things[N];

static struct thing *find(const struct table *t, int key, uint64_t hash)
{
    for (struct table_node *n = table_first(t, hash); n; n = table_next(n))
        if (table_entry(n, struct thing, node)->key == key)
            return table_entry(n, struct thing, node);
    return NULL;
}

static void finds_what_was_added(void **state)
{
    struct table t = { 0 };

    (void)state;
    assert_null(find(&t, 1, table_hash_int(1)));
    for (int i = 0; i < N; i++) {
        things[i].key = i;
        assert_int_equal(table_add(&t, &things[i].node, table_hash_int((uint64_t)i)), 0);
    }
    assert_int_equal(t.n, N);
    for (int i = 0; i < N; i += 2)
        table_remove(&t, &things[i].node);
    table_remove(&t, &things[0].node);
    assert_int_equal(t.n, N / 2);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(find(&t, i, table_hash_int((uint64_t)i)), i % 2 ? &things[i] : NULL);
    table_done(&t);
}

static void equal_hashes_live_together(void **state)
{
    struct table t = { 0 };

    (void)state;
    for (int i = 0; i < 100; i++) {
        things[i].key = i;
        assert_int_equal(table_add(&t, &things[i].node, (uint64_t)i % 3), 0);
    }
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(find(&t, i, (uint64_t)i % 3), &things[i]);
        assert_null(find(&t, i, (uint64_t)(i + 1) % 3));
    }
    table_done(&t);
}

static void hashes_spread(void **state)
{
    bool used[256] = { false };
    int n = 0;

    (void)state;
    for (uint64_t i = 0; i < 256; i++) {
        n += !used[table_hash_int(i << 32) & 255];
        used[table_hash_int(i << 32) & 255] = true;
    }
    assert_true(n > 120);
    assert_int_equal(table_hash_bytes("abc", 3), table_hash_bytes("abcd", 3));
    assert_true(table_hash_bytes("abc", 3) != table_hash_bytes("abd", 3));
    assert_true(table_hash_bytes("", 0) != table_hash_bytes("\0", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added),
        cmocka_unit_test(equal_hashes_live_together),
        cmocka_unit_test(hashes_spread),
    };

    return cmocka_run_group_tests_name("base/table", tests, NULL, NULL);
}
