/*
 * One file of the configuration as a libconfig tree. libconfig stops at the first duplicate name
 * and wraps an integer past 32 bits that has no L (1.5); so the text is read over before: a
 * duplicate is reported and its name marked, a long integer gets its L.
 */
#pragma once

#include <libconfig.h>
#include <stdbool.h>

#include "config/mistake.h"

struct source {
    config_t tree;
    char *path;  /* owned */
    bool broken; /* not all of it could be read; what could be is in the tree */
};

/* Reports what is wrong with the file as a text. -ENOMEM. */
int source_read(const char *path, struct mistakes *mistakes, struct source *ret);
void source_done(struct source *s);
/* A setting's name without the mark of a duplicate. */
const char *source_name(const config_setting_t *s);
/* The setting stands a second time in its group. */
bool source_is_duplicate(const config_setting_t *s);
