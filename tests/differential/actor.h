/* Programs while they run: the world that their tasks share, and each task. */
#pragma once

#include "tests/differential/program.h"

#define EVENTS     3
#define LOCKS      2
#define CONDITIONS 2
#define FUTURES    3

struct world {
    struct program *program;
    int64_t start_ns;
    bool closing; /* every task shall end now */
    struct co_task tasks[TASKS_MAX];
    bool spawned[TASKS_MAX];
    struct co_event events[EVENTS];
    struct co_gate gates[4];
    struct co_lock locks[LOCKS];
    struct co_condition held[LOCKS]; /* waited on with the lock of the same number */
    struct co_condition conditions[CONDITIONS];
    struct co_channel channels[4];
    struct co_future futures[FUTURES];
};

struct actor {
    struct world *world;
    struct spec *spec;
    struct co_group *group; /* the innermost one that it opened, or NULL */
    struct co_scope *scope; /* likewise */
};

/* One line of the trace: when, who, which operation, what came of it. */
void world_tell(
        struct world *w, const char *who, int line, const char *verb, int rc, const char *text);
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The body of a task; `arg` is its struct spec. */
int actor_main(void *arg);
/* Runs ops [from, to): 0, or the error with which they were left. */
int actor_block(struct actor *a, int from, int to);
/* Suspends. Asleep in a shield; nothing when there is no time to sleep. */
void actor_sleep_shielded(int64_t us);

/* What the files of operations offer. */
struct verb {
    const char *name;
    op_fn run;
};
extern const struct verb verbs_of_tasks[], verbs_of_sync[], verbs_of_blocks[];
