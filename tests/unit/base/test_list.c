#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/list.h"

struct thing {
    int n;
    struct list node;
};

static int as_number(const struct list *head)
{
    int number = 0;

    for (const struct list *it = head->next; it != head; it = it->next)
        number = number * 10 + list_entry(it, struct thing, node)->n;
    return number;
}

static void nodes_go_in_and_out(void **state)
{
    struct thing a = { 1 }, b = { 2 }, c = { 3 }, d = { 4 };
    struct list head = LIST_INIT(head);

    (void)state;
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    list_append(&head, &b.node);
    list_append(&head, &d.node);
    list_prepend(&head, &a.node);
    list_insert_before(&d.node, &c.node);
    assert_int_equal(as_number(&head), 1234);
    list_remove(&b.node);
    list_remove(&b.node);
    assert_int_equal(as_number(&head), 134);
    assert_ptr_equal(list_pop(&head), &a.node);
    assert_true(list_empty(&a.node));
    assert_int_equal(as_number(&head), 34);
}

static void a_walk_may_remove_what_it_sees(void **state)
{
    struct thing things[5];
    struct list head = LIST_INIT(head);
    int n = 0;

    (void)state;
    for (int i = 0; i < 5; i++) {
        things[i].n = i + 1;
        list_append(&head, &things[i].node);
    }
    list_for_each_safe (it, &head)
        if (list_entry(it, struct thing, node)->n % 2)
            list_remove(it);
    assert_int_equal(as_number(&head), 24);
    list_for_each (it, &head)
        n++;
    assert_int_equal(n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_go_in_and_out),
        cmocka_unit_test(a_walk_may_remove_what_it_sees),
    };

    return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}
