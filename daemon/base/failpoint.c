#include "daemon/base/failpoint.h"

#include <stddef.h>

#ifdef BAEDAL_FAILPOINTS

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAILPOINT_TEXT(name) #name " "

static const char *const failpoint_texts[FAILPOINT_MAX] = {
#define FAILPOINT_ROW(name) [FAILPOINT_##name] = #name,
    FAILPOINT_TABLE(FAILPOINT_ROW)
};

/* The variable is the process's own, and so is what was read from it. */
static struct {
    pthread_once_t once;
    enum failpoint which; /* FAILPOINT_MAX: none */
    atomic_long left;
} failpoint_set = { .once = PTHREAD_ONCE_INIT, .which = FAILPOINT_MAX };

static void failpoint_refuse(const char *text)
{
    fprintf(stderr, "BAEDAL_FAILPOINT=%s: not name:abort[:n] with one of: %s\n", text,
            failpoint_names());
    _exit(2);
}

static void failpoint_read(void)
{
    const char *text = getenv("BAEDAL_FAILPOINT");
    char *end = NULL;
    long n = 1;

    if (!text || !*text)
        return;
    for (int i = 0; i < FAILPOINT_MAX; i++) {
        size_t length = strlen(failpoint_texts[i]);

        if (strncmp(text, failpoint_texts[i], length) != 0 ||
                strncmp(text + length, ":abort", 6) != 0)
            continue;
        if (text[length + 6] == ':')
            n = strtol(text + length + 7, &end, 10);
        else
            end = (char *)text + length + 6;
        if (*end || n < 1)
            break;
        failpoint_set.which = (enum failpoint)i;
        atomic_store(&failpoint_set.left, n);
        return;
    }
    failpoint_refuse(text);
}

void failpoint_pass(enum failpoint which)
{
    pthread_once(&failpoint_set.once, failpoint_read);
    if (which != failpoint_set.which || atomic_fetch_sub(&failpoint_set.left, 1) != 1)
        return;
    fprintf(stderr, "failpoint %s\n", failpoint_texts[which]);
    kill(getpid(), SIGKILL);
}

const char *failpoint_names(void)
{
    return FAILPOINT_TABLE(FAILPOINT_TEXT);
}

#else

void failpoint_pass(enum failpoint which)
{
    (void)which;
}

const char *failpoint_names(void)
{
    return NULL;
}

#endif
