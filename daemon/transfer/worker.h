/*
 * A worker process: carries the exchanges that the daemon gives it, in a sandbox. Of an exchange
 * that is over, the order, the answer and freed memory are overwritten. Out of reach is what
 * libcurl and the TLS library keep: the handle with its URL, headers and buffers, connections,
 * sessions.
 */
#pragma once

#define WORKER_FD 3 /* the socket to the daemon */

/* The whole life of the process, which ends when the daemon has no more use for it, or is gone. */
__attribute__((noreturn)) void worker_main(int fd);
