/* The mistakes of a configuration, written as `file:line: what is wrong` as they are found. */
#pragma once

#include <stdio.h>

struct mistakes {
    FILE *out;
    int n;
};

/* `line` 0: of the file as a whole. */
__attribute__((format(printf, 4, 5))) void mistake_at(
        struct mistakes *m, const char *file, unsigned line, const char *format, ...);
