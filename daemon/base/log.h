/*
 * One line per event: readable on stderr, with fields in the journal when stderr is the journal's.
 * Any thread may log. The sink and the level are the process's own, like stderr itself, and are
 * the one mutable state at file scope (DESIGN section 3: the lower layers log nothing above debug).
 */
#pragma once

#include <stdarg.h>
#include <stdint.h>

enum log_level { /* the values of syslog(3) */
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

struct log_options {
    enum log_level level; /* what is less urgent than this is dropped */
};

/* A journal field; its name without the prefix BAEDAL_, upper case. Shown as name=value on stderr. */
struct log_field {
    const char *name, *value; /* a NULL value leaves the field out */
};

/* May be called again to change the level. */
void log_setup(const struct log_options *options);
/* "error", "warning", "info" or "debug"; -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret);
const char *log_level_name(enum log_level level);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);
/* `fields` ends with a NULL name. */
__attribute__((format(printf, 3, 4))) void log_event(
        enum log_level level, const struct log_field *fields, const char *format, ...);

#define LOG_FIELDS(...) ((const struct log_field[]){ __VA_ARGS__, { NULL, NULL } })

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
