/* A client of the server under test, on plain sockets. Everything that goes wrong fails the test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buf.h"
#include "tests/unit/api/server_fixture.h"

extern struct server_fixture server; /* the one under test */
extern char host_line[64];           /* its "Host: …" */
extern unsigned
        server_idle_descriptors; /* what it has open without connections; by client_setup() */

/* An answer with a Content-Length. */
struct answer {
    unsigned status;
    char *head, *body;
};

int client_start_server(const struct server_fixture_options *options);
/* A server with small limits, for a group of tests, and its end. */
int client_setup(void **state);
int client_teardown(void **state);

int client_dial(void);
void client_send_all(int fd, const void *data, size_t n);
void client_send_text(int fd, const char *text);
/* With a Host, and a Content-Length when there is a body. */
void client_send_request(
        int fd, const char *line, const char *headers, const char *body, size_t body_n);
void client_send_json(int fd, const char *line, const char *body);
/* More into `in`, which is terminated; false at the end of the connection. */
bool client_read_more(int fd, struct buf *in);
/* The next answer that is not 100; what follows it stays in `in`. */
struct answer client_read_next(int fd, struct buf *in, bool head_only);
/* The next answer; nothing may follow it. */
struct answer client_read_answer(int fd);
void answer_done(struct answer *a);
/* All until the server closes; NULL: nothing. */
char *client_read_to_end(int fd);
/* The next answer has this status, and `part` (NULL: anything) in its body. */
void client_expect(int fd, unsigned status, const char *part);
/* How often `part` is in the list of jobs, page by page. `query` begins with & or is empty. */
unsigned client_listed(const char *query, const char *part);

/* What stands between `before` and the next quotation mark. */
char *text_between(const char *text, const char *before);
unsigned text_count(const char *text, const char *part);

unsigned server_descriptors(void);
/* Waits until it has so many. */
void server_expect_descriptors(unsigned n);
int64_t server_cpu_us(void);
