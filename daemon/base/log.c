#define SD_JOURNAL_SUPPRESS_LOCATION
#include "daemon/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"

#define LOG_MAX_FIELDS 16
#define LOG_LINE_SIZE  2048 /* more of a message is cut */

static atomic_int log_max_level = LOG_LEVEL_INFO;
static atomic_bool log_to_journal;

static const struct {
    enum log_level level;
    const char *name;
} log_levels[] = {
    { LOG_LEVEL_ERROR, "error" },
    { LOG_LEVEL_WARNING, "warning" },
    { LOG_LEVEL_INFO, "info" },
    { LOG_LEVEL_DEBUG, "debug" },
};

/* Whether stderr is the stream that the service manager handed us: sd-journal(3), JOURNAL_STREAM. */
static bool log_stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(2, &st) == 0 &&
           st.st_dev == device && st.st_ino == inode;
}

void log_setup(const struct log_options *options)
{
    atomic_store(&log_max_level, options->level);
    atomic_store(&log_to_journal, log_stderr_is_journal());
}

int log_level_parse(const char *text, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(log_levels); i++)
        if (strcmp(log_levels[i].name, text) == 0) {
            *ret = log_levels[i].level;
            return 0;
        }
    return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
    for (size_t i = 0; i < ARRAY_LEN(log_levels); i++)
        if (log_levels[i].level == level)
            return log_levels[i].name;
    return "unknown";
}

static void log_send_journal(
        enum log_level level, const struct log_field *fields, const char *message)
{
    struct iovec vector[2 + LOG_MAX_FIELDS];
    char *owned[2 + LOG_MAX_FIELDS];
    int n = 0;

    if (asprintf(&owned[n], "MESSAGE=%s", message) >= 0)
        n++;
    if (asprintf(&owned[n], "PRIORITY=%d", level) >= 0)
        n++;
    for (; fields && fields->name && n < 2 + LOG_MAX_FIELDS; fields++)
        if (fields->value && asprintf(&owned[n], "BAEDAL_%s=%s", fields->name, fields->value) >= 0)
            n++;
    for (int i = 0; i < n; i++)
        vector[i] = (struct iovec){ owned[i], strlen(owned[i]) };
    sd_journal_sendv(vector, n);
    for (int i = 0; i < n; i++)
        free(owned[i]);
}

/* What others wrote (URLs, server messages) must not forge lines or drive a terminal. */
static void log_make_printable(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = ' ';
}

static void log_send_stderr(
        enum log_level level, const struct log_field *fields, const char *message)
{
    char line[LOG_LINE_SIZE + 1024], when[CLOCK_TEXT_SIZE];
    size_t n, size = sizeof(line) - 1;

    clock_format(clock_wall_us(), when);
    n = (size_t)snprintf(line, size, "%s %-7s %s", when, log_level_name(level), message);
    for (; fields && fields->name && n < size; fields++)
        if (fields->value) {
            int name_length = (int)strlen(fields->name);
            size_t name_at = n + 2;

            n += (size_t)snprintf(
                    line + n, size - n, "  %.*s=%s", name_length, fields->name, fields->value);
            for (int i = 0; i < name_length && name_at < size; i++, name_at++)
                if (line[name_at] >= 'A' && line[name_at] <= 'Z')
                    line[name_at] |= 0x20;
        }
    if (n > size - 1)
        n = size - 1;
    log_make_printable(line);
    line[n++] = '\n';
    (void)!write(STDERR_FILENO, line, n);
}

__attribute__((format(printf, 3, 0))) static void log_send(
        enum log_level level, const struct log_field *fields, const char *format, va_list args)
{
    char message[LOG_LINE_SIZE];
    int saved = errno;

    vsnprintf(message, sizeof(message), format, args);
    if (atomic_load(&log_to_journal))
        log_send_journal(level, fields, message);
    else
        log_send_stderr(level, fields, message);
    errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    if ((int)level > atomic_load_explicit(&log_max_level, memory_order_relaxed))
        return;
    va_start(args, format);
    log_send(level, NULL, format, args);
    va_end(args);
}

void log_event(enum log_level level, const struct log_field *fields, const char *format, ...)
{
    va_list args;

    if ((int)level > atomic_load_explicit(&log_max_level, memory_order_relaxed))
        return;
    va_start(args, format);
    log_send(level, fields, format, args);
    va_end(args);
}
