#include "api/faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/buf.h"

static void fault_done(struct fault *f)
{
    free(f->detail);
    free(f->pointer);
    free(f->parameter);
}

void faults_done(struct faults *f)
{
    for (size_t i = 0; i < f->n; i++)
        fault_done(&f->list[i]);
    free(f->list);
    *f = (struct faults){ 0 };
}

/* Takes the fault over. */
__attribute__((format(printf, 3, 0))) static void faults_add(
        struct faults *f, struct fault *fault, const char *format, va_list args)
{
    struct fault *list;

    if (f->n >= FAULTS_MAX || vasprintf(&fault->detail, format, args) < 0) {
        fault->detail = NULL;
        goto dropped;
    }
    list = reallocarray(f->list, f->n + 1, sizeof(*list));
    if (!list)
        goto dropped;
    f->list = list;
    list[f->n++] = *fault;
    return;

dropped:
    f->dropped++;
    fault_done(fault);
}

static void place_append(const struct place *where, struct buf *out)
{
    if (!where->parent)
        return;
    place_append(where->parent, out);
    buf_append(out, "/", 1);
    if (!where->key) {
        buf_printf(out, "%zu", where->index);
        return;
    }
    for (const char *p = where->key; *p; p++)
        if (*p == '~')
            buf_append(out, "~0", 2);
        else if (*p == '/')
            buf_append(out, "~1", 2);
        else
            buf_append(out, p, 1);
}

void faults_at(struct faults *f, const struct place *where, const char *format, ...)
{
    struct fault fault = { 0 };
    struct buf pointer = { 0 };
    va_list args;

    place_append(where, &pointer);
    if (buf_append(&pointer, "", 1) == 0)
        fault.pointer = pointer.data;
    else
        buf_done(&pointer);
    va_start(args, format);
    faults_add(f, &fault, format, args);
    va_end(args);
}

void faults_parameter(struct faults *f, const char *parameter, const char *format, ...)
{
    struct fault fault = { .parameter = strdup(parameter) };
    va_list args;

    va_start(args, format);
    faults_add(f, &fault, format, args);
    va_end(args);
}

void faults_syntax(struct faults *f, int line, int column, const char *format, ...)
{
    struct fault fault = { .line = line, .column = column };
    va_list args;

    va_start(args, format);
    faults_add(f, &fault, format, args);
    va_end(args);
}

static json_t *fault_json(const struct fault *f)
{
    json_t *o = json_object();

    shape_set(&o, "detail", shape_text(f->detail));
    if (f->pointer)
        shape_set(&o, "pointer", shape_text(f->pointer));
    if (f->parameter)
        shape_set(&o, "parameter", shape_text(f->parameter));
    if (f->line > 0) {
        shape_set(&o, "line", json_integer(f->line));
        shape_set(&o, "column", json_integer(f->column));
    }
    return o;
}

json_t *faults_json(const struct faults *f)
{
    json_t *list = json_array();

    for (size_t i = 0; i < f->n; i++)
        shape_push(&list, fault_json(&f->list[i]));
    if (f->dropped > 0) {
        char text[64];
        json_t *o = json_object();

        snprintf(text, sizeof(text), "%zu more errors are not listed", f->dropped);
        shape_set(&o, "detail", shape_text(text));
        shape_push(&list, o);
    }
    return list;
}
