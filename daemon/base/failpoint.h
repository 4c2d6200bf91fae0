/*
 * Places where a test ends the process as a power cut would: at each border of what is durable.
 * They are compiled in by `meson setup -Dfailpoints=true` only. The environment variable
 *     BAEDAL_FAILPOINT=name:abort[:n]
 * kills the process (SIGKILL) when it comes to that place for the n-th time (1).
 */
#pragma once

/* Each name once; a test goes through all of them. */
#define FAILPOINT_TABLE(X)                                          \
    X(migrate_before_commit) /* one step of the schema */           \
    X(migrate_after_commit)                                         \
    X(group_before_begin)                                           \
    X(group_after_operations) /* all of them, before the commit */  \
    X(group_after_commit)     /* before anybody is told */          \
    X(alone_after_operation)  /* one of a group that is replayed */ \
    X(alone_after_commit)                                           \
    X(loading_first_slice) /* of a batch, before its commit */      \
    X(loading_middle_slice)                                         \
    X(loading_last_slice)                                           \
    X(loading_after_last) /* committed, before it is shown */       \
    X(loading_drop_slice) /* of what is left of a batch */          \
    X(fold_before)        /* the log into the database */           \
    X(fold_after)                                                   \
    X(body_synced) /* the file is durable, no row names it */       \
    X(purge_before_commit)                                          \
    X(purge_before_unlink) /* committed; no row names the files */  \
    X(purge_half_unlinked)                                          \
    X(backup_copied) /* the database, without the files */          \
    X(backup_before_rename)                                         \
    X(backup_after_rename)                                          \
    X(ballast_before_release)                                       \
    X(ballast_after_release)

enum failpoint {
#define FAILPOINT_ENUM(name) FAILPOINT_##name,
    FAILPOINT_TABLE(FAILPOINT_ENUM)
#undef FAILPOINT_ENUM
            FAILPOINT_MAX
};

#ifdef BAEDAL_FAILPOINTS
#define failpoint(name) failpoint_pass(FAILPOINT_##name)
#else
#define failpoint(name) ((void)FAILPOINT_##name)
#endif

/* From any thread. Ends the process when the variable says so, or says what is not understood. */
void failpoint_pass(enum failpoint which);
/* All names with a space between them; NULL when they are not compiled in. */
const char *failpoint_names(void);
