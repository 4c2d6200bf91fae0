/* Which handler answers: one table of methods and paths. */
#pragma once

#include <stdbool.h>

#include "api/reply.h"
#include "api/request.h"

/*
 * Suspends. Fills the reply and returns 0, or returns the -errno that reply_error() makes a
 * problem of; -ECANCELED: nobody waits for the answer any more.
 */
typedef int (*route_handler)(struct request *r, struct reply *reply);

struct route {
    const char *method, *path; /* "{id}" stands for one segment */
    route_handler handle;
    route_handler handle_lines;    /* for application/x-ndjson; NULL: not taken */
    const char *const *parameters; /* of the query; NULL-terminated; NULL: none */
    bool json;                     /* takes an application/json body */
};

#define ROUTE_ALLOW_SIZE 64

/*
 * 0, with what stands for {id} in *ret_id (in `path`; the rest after it may be cut off by the
 * caller at *ret_id_n) or NULL; -ENOENT; -EPERM another method: then `ret_allow` lists those that are.
 */
int route_find(const char *method, const char *path, const struct route **ret, const char **ret_id,
        size_t *ret_id_n, char ret_allow[ROUTE_ALLOW_SIZE]);
