/* Takes over the settings of one file. */
#pragma once

#include "config/keys.h"
#include "config/memory.h"
#include "config/mistake.h"

struct apply {
    struct config *config;
    struct config_memory *memory;
    struct mistakes *mistakes;
};

/* Reports what means nothing and takes the rest, over what earlier files said. -ENOMEM. */
int apply_source(struct apply *a, const struct source *s);
/* The list with one element, or none for NULL. -ENOMEM. */
int apply_texts(struct apply *a, const struct key *k, const char *only);
