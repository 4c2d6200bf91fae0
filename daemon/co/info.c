#include "daemon/co/info.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/co/ready.h"

struct co_task co_self(void)
{
    struct fiber *f = fiber_self();

    return f ? f->handle : (struct co_task){ 0 };
}

unsigned co_count(void)
{
    struct co_loop *l = co_current();

    return l ? l->n_tasks : 0;
}

void co_name_set(const char *name)
{
    struct fiber *f = fiber_self();

    if (!f)
        return;
    snprintf(f->label, sizeof(f->label), "%s", name);
    f->name = f->label;
}

void *co_variable(unsigned key)
{
    const struct fiber *f = fiber_self();

    return f && key < CO_VARIABLES ? f->variables[key] : NULL;
}

void co_variable_set(unsigned key, void *value)
{
    struct fiber *f = fiber_self();

    if (f && key < CO_VARIABLES)
        f->variables[key] = value;
}
