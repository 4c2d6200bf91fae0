/*
 * The directories backups/<time> below the state directory. One that is being made is called
 * <time>.tmp, and left over it is removed by the next start. Any thread.
 */
#pragma once

#include <stdint.h>

#define BACKUPS_DIRECTORY "backups"
#define BACKUPS_NAME_SIZE 32

/* All of it is this module's but for what store_backup() reads. */
struct backups_entry {
    char name[BACKUPS_NAME_SIZE]; /* the time: YYYYMMDDTHHMMSS.mmmZ */
    int above_fd;                 /* backups/ */
    int own_fd;                   /* of <time>.tmp */
    int bodies_fd;                /* <time>.tmp/bodies */
    int from_fd;                  /* the store's body files; borrowed */
    int64_t bytes;                /* of all files */
};

/* Makes <time>.tmp with an empty database file. On error nothing is left. */
int backups_begin(int directory_fd, int from_fd, struct backups_entry *ret);
/* Takes a body file along, by a link where that goes. For sqlite_backup_complete(). */
int backups_take_file(void *entry, const char *name);
/* Syncs everything, and gives it its name. */
int backups_publish(struct backups_entry *e);
/* Closes; what was not published is removed. */
void backups_end(struct backups_entry *e);
/* What a crash left half-made. */
void backups_sweep(int directory_fd);
