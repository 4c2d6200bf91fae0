/*
 * The run of a job from one checkpoint to the next (DESIGN section 4): due → lane → a coroutine
 * that does one step → commit → ended, or due again.
 */
#pragma once

struct record;
struct run;

/* Sets the record's callbacks; once, before activation_schedule(). */
void activation_prepare(struct record *r);
/* Puts a record that is not busy where its job stands: held back, due later, or in its lane. */
void activation_schedule(struct record *r);
/* Takes it out of where it waits. */
void activation_withdraw(struct record *r);
/* Lets go whom the batch's concurrency allows, and has more brought in if there are few left. */
void activation_refill(struct run *run);
