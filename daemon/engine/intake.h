/* The way of jobs into memory, from a submit or from the store. */
#pragma once

struct engine;
struct job;
struct record;

/*
 * A record of the job (of which it takes a reference), in its batch and in no queue. -EEXIST: it
 * has one, which knows better. -ENOMEM: it is let in by itself as soon as there is memory. A job
 * stays in memory though the store was told that it leaves when a cancel or its deadline comes
 * meanwhile.
 */
int intake_adopt(struct engine *e, struct job *job, struct record **ret);
/* The job is committed as being in memory: it goes on from here. */
void intake_let_in(struct engine *e, struct job *job);
