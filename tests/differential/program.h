/* A program of the differential test: what each of its tasks does, as text; see generate.py. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/co/co.h"

#define TASKS_MAX 16
#define OPS_MAX   128
#define ARGS_MAX  16

struct actor;
struct op;
struct world;

/* What is worth comparing beside a result. */
struct text {
    char s[480];
    size_t n;
};

typedef int (*op_fn)(struct actor *a, struct op *op, struct text *text);

struct op {
    int line;
    int64_t delay_us; /* slept before it: what changes others happens alone at its instant */
    char policy;      /* what follows an error: see actor_react() */
    int64_t extra_us; /* of a policy, or of the end of a block, slept in a shield */
    const char *verb;
    op_fn run;
    int64_t args[ARGS_MAX];
    int n_args;
    int end; /* of a block: the operation that ends it */
    struct co_hook hook;
    struct world *world;
};

struct spec {
    struct world *world; /* while it runs */
    int id;
    int64_t end_us; /* slept before its end, unless it is cancelled */
    int result;
    struct op ops[OPS_MAX];
    int n_ops;
};

struct program {
    int64_t horizon_us; /* then all is cancelled */
    int64_t cyclic;     /* some awaits are refused: who has used up what is not counted */
    int64_t permits[4], capacities[4];
    int n_gates, n_channels;
    struct spec specs[TASKS_MAX];
    int n_specs;
};

/* The next one, up to its `run`; false: there is none. A mistake in it ends the process. */
bool program_read(struct program *p, FILE *f);
/* NULL: no such verb. `*ret_verb` outlives all. */
op_fn op_find(const char *verb, const char **ret_verb);
