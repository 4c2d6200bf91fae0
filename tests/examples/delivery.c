/*
 * Deliveries: one after another, gathered, and gathered although each wait blocks. As delivery.py.
 *
 *     delivery [SECONDS]      how long one unit of waiting is; 1
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/co/co.h"

#define N_ORDERS 3

static double unit = 1.0;

struct order {
    const char *name;
    int wait;
};
static struct order orders[N_ORDERS] = { { "A", 9 }, { "B", 3 }, { "C", 6 } };

CO_SUSPENDS static int delivery(void *arg)
{
    const struct order *o = arg;
    int rc;

    printf("%s delivered\n", o->name);
    rc = co_sleep((int64_t)(o->wait * unit * 1e9));
    if (rc < 0)
        return rc;
    printf("%s waited %d\n", o->name, o->wait);
    printf("%s collected\n", o->name);
    return 0;
}

static int wait_blocking(void *arg)
{
    int64_t ns = (int64_t)(((struct order *)arg)->wait * unit * 1e9);

    return nanosleep(&(struct timespec){ ns / 1000000000, ns % 1000000000 }, NULL);
}

CO_SUSPENDS static int delivery_blocking(void *arg)
{
    const struct order *o = arg;
    int rc;

    printf("%s delivered\n", o->name);
    rc = co_to_thread(wait_blocking, arg, NULL);
    if (rc < 0)
        return rc;
    printf("%s waited %d\n", o->name, o->wait);
    printf("%s collected\n", o->name);
    return 0;
}

CO_SUSPENDS static int one_after_another(void)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < N_ORDERS; i++)
        rc = delivery(&orders[i]);
    return rc;
}

CO_SUSPENDS static int gather_orders(co_fn deliver)
{
    struct co_task tasks[N_ORDERS];

    for (int i = 0; i < N_ORDERS; i++) {
        int rc = co_spawn(orders[i].name, deliver, &orders[i], &tasks[i]);

        if (rc < 0)
            return rc;
    }
    return co_gather(tasks, N_ORDERS, NULL, 0);
}

CO_SUSPENDS static int gathered(void)
{
    return gather_orders(delivery);
}

CO_SUSPENDS static int gathered_blocking(void)
{
    return gather_orders(delivery_blocking);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

CO_SUSPENDS static int timed(const char *title, int (*run)(void))
{
    double begun = now();
    int rc;

    printf("%s:\n", title);
    rc = run();
    printf("took %.1f\n", (now() - begun) / unit);
    return rc;
}

CO_SUSPENDS static int all(void *arg)
{
    int rc = timed("one after another", one_after_another);

    (void)arg;
    if (rc == 0)
        rc = timed("gathered", gathered);
    if (rc == 0)
        rc = timed("gathered, on threads", gathered_blocking);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        unit = atof(argv[1]);
    return co_run(NULL, NULL, all, NULL) < 0;
}
