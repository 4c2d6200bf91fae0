/* A reason in words beside an error number, for constructors whose caller tells a person. */
#pragma once

struct error {
    char text[512];
};

/* Formats the reason into `e` (NULL allowed) and returns `rc` unchanged. */
__attribute__((format(printf, 3, 4))) int error_set(
        struct error *e, int rc, const char *format, ...);
