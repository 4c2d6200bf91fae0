/* The API over a fake service in a child process, on an inherited socket and on a Unix socket. */
#pragma once

#include <sys/types.h>

struct server_fixture {
    pid_t pid;
    unsigned port;
    char directory[64], path[96]; /* the Unix socket */
};

/* The options that a test may want to be small. */
struct server_fixture_options {
    unsigned max_connections, max_connections_per_client, max_waiters, max_lines;
    long max_body_bytes, max_bulk_bytes, request_memory_bytes, answer_memory_bytes;
    long header_timeout_us, body_timeout_us, write_timeout_us;
    int descriptors; /* RLIMIT_NOFILE; 0: as it is */
};

void server_fixture_start(struct server_fixture *f, const struct server_fixture_options *options);
/* SIGTERM, then its exit status: 0 when it stopped in good order and lost no memory. */
int server_fixture_stop(struct server_fixture *f);
/* Runs the child's part in this process until SIGTERM. */
int server_fixture_serve(const char *const *listen, const struct server_fixture_options *options,
        const char *directory);
