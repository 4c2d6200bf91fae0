/* Threads beside the main one. */
#pragma once

#include <pthread.h>

/*
 * Starts a thread that takes no signals but those that its own faults raise: all others are the
 * main thread's. `name` shows in ps and gdb, its first 15 bytes. -errno.
 */
int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *arg), void *arg);
