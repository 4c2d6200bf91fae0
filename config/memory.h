/* What a loaded configuration owns, and where each of its values comes from. */
#pragma once

#include <stddef.h>

#include "config/config.h"
#include "config/source.h"

struct setting_origin {
    const char *file; /* NULL: a default, or the environment variable `variable` */
    unsigned line;
    const char *variable;
};

struct config_memory {
    struct setting_origin *keys; /* beside the table `keys` */
    struct setting_origin default_lane;
    struct lane_options *lanes; /* sorted by nothing: in the order of their first appearance */
    struct setting_origin *lane_origins;
    size_t n_lanes;
    struct source **sources;
    size_t n_sources;
    void **blocks; /* texts and lists made while loading */
    size_t n_blocks;
};

/* Hands `block` over to the memory; frees it and says -ENOMEM when it cannot. */
int memory_own(struct config_memory *m, void *block);
