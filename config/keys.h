/* The table of every key: its group, type, unit, range and default. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum key_type {
    KEY_COUNT,    /* a whole number; unsigned */
    KEY_BYTES,    /* bytes, or text with a unit; int64_t */
    KEY_DURATION, /* seconds, or text with a unit; int64_t in microseconds */
    KEY_CHOICE,   /* one of some words */
    KEY_TEXT,     /* const char * */
    KEY_TEXTS,    /* a list of texts; const char *const *, NULL-terminated */
};

struct key_choice {
    const char *name;
    int64_t value;
};

struct key {
    const char *group, *name;
    enum key_type type;
    size_t offset, size;  /* of the field in struct config */
    const char *fallback; /* the default as text; a list's only element, NULL: an empty list */
    int64_t min, max;     /* numbers, in the field's unit */
    const struct key_choice *choices;
    /* Each text; -EINVAL with the reason. */
    int (*check)(const char *text, struct error *ret_why);
    bool required; /* a list must not be empty */
    bool live;     /* SIGHUP takes it */
};

/* Ordered by group. */
extern const struct key keys[];
extern const size_t keys_n;

/* A key or NULL. */
const struct key *key_find(const char *group, const char *name);
/* The first key of that name in any group. */
const struct key *key_find_name(const char *name);
bool key_group_exists(const char *group);
/* The known group, or the group's key, that `name` was probably meant to be; NULL. */
const char *key_nearest_group(const char *name);
const char *key_nearest_name(const char *group, const char *name);

/* Fields of any type but KEY_TEXT and KEY_TEXTS. */
int64_t key_number(const struct key *k, const struct config *c);
void key_set_number(const struct key *k, struct config *c, int64_t value);
const char *key_text(const struct key *k, const struct config *c);
void key_set_text(const struct key *k, struct config *c, const char *value);
const char *const *key_texts(const struct key *k, const struct config *c);
void key_set_texts(const struct key *k, struct config *c, const char *const *value);

/* What a text means to a key that is no text itself. -EINVAL, -ERANGE with the reason. */
int key_parse(const struct key *k, const char *text, int64_t *ret, struct error *ret_why);
/* -ERANGE with the reason. */
int key_check_range(const struct key *k, int64_t value, struct error *ret_why);
/* A number as the file says it, without quotes. */
void key_format(const struct key *k, int64_t value, char *ret, size_t size);
