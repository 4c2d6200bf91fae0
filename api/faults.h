/*
 * What is wrong with a request: all of it, for one answer (RFC 9457, extension `errors`). A place in
 * the JSON is an RFC 6901 pointer; it is built while the reader goes down and written out only
 * when something is wrong there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/shape.h"

/* More than this of one request is counted, not listed. */
#define FAULTS_MAX 100

struct fault {
    char *detail;
    char *pointer;    /* NULL: none */
    char *parameter;  /* of the query, or a header; NULL: none */
    int line, column; /* from 1; 0: none */
};

struct faults {
    struct fault *list;
    size_t n;       /* listed */
    size_t dropped; /* beyond the list, or for lack of memory */
};

/* Where the reader is: `key`, or `index` where key is NULL; the root has no parent and no key. */
struct place {
    const struct place *parent;
    const char *key;
    size_t index;
};

static inline bool faults_any(const struct faults *f)
{
    return f->n + f->dropped > 0;
}

void faults_done(struct faults *f);
__attribute__((format(printf, 3, 4))) void faults_at(
        struct faults *f, const struct place *where, const char *format, ...);
__attribute__((format(printf, 3, 4))) void faults_parameter(
        struct faults *f, const char *parameter, const char *format, ...);
__attribute__((format(printf, 4, 5))) void faults_syntax(
        struct faults *f, int line, int column, const char *format, ...);
/* An array of objects; NULL: no memory. */
json_t *faults_json(const struct faults *f);
