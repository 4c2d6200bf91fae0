#include "daemon/store/space.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/failpoint.h"
#include "daemon/base/log.h"

#define BALLAST_NAME "ballast"

#define CHECK_US (CLOCK_US_PER_S / 10) /* what statvfs() said holds for this long */
#define TIGHT_US CLOCK_US_PER_S        /* how long a full disk is remembered */
#define PROBE_MS 500                   /* while the ballast is missing */
#define JUST_US  CLOCK_US_PER_S /* those who found no room at the same time may all try again */

static bool space_has(const struct space *s, int64_t bytes)
{
    struct statvfs disk;

    return fstatvfs(s->options.directory_fd, &disk) < 0 ||
           (uint64_t)disk.f_bavail * disk.f_frsize >= (uint64_t)bytes;
}

bool space_short_of(const struct space *s, int64_t bytes)
{
    return !space_has(s, s->options.min_free_bytes + bytes);
}

bool space_gave_up(const struct space *s)
{
    return s->given_up_us != 0 && !s->ballast;
}

bool space_short(struct space *s)
{
    int64_t now_us = clock_mono_us();

    if (now_us >= s->checked_us + CHECK_US) {
        s->checked_us = now_us;
        s->is_short = space_short_of(s, space_gave_up(s) ? s->options.ballast_bytes : 0);
    }
    return s->is_short;
}

void space_full(struct space *s)
{
    s->checked_us = INT64_MIN / 2;
    s->tight_until_us = clock_mono_us() + TIGHT_US;
}

bool space_tight(struct space *s)
{
    return space_short(s) || clock_mono_us() < s->tight_until_us;
}

/* All of its blocks are there, not only its length. */
static bool ballast_is_whole(const struct space *s)
{
    struct stat file;

    return fstatat(s->options.directory_fd, BALLAST_NAME, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(file.st_mode) && file.st_size == s->options.ballast_bytes &&
           (int64_t)file.st_blocks * 512 >= s->options.ballast_bytes;
}

/* False when it has no room: nothing is left of it. */
static bool ballast_make(struct space *s)
{
    int fd CLEANUP(cleanup_close) = -1;
    int rc;

    unlinkat(s->options.directory_fd, BALLAST_NAME, 0);
    if (space_short_of(s, s->options.ballast_bytes))
        return false;
    fd = openat(s->options.directory_fd, BALLAST_NAME,
            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    rc = fd < 0 ? errno : posix_fallocate(fd, 0, s->options.ballast_bytes);
    if (rc != 0)
        unlinkat(s->options.directory_fd, BALLAST_NAME, 0);
    return rc == 0;
}

void space_init(struct space *s, const struct space_options *options)
{
    *s = (struct space){
        .options = *options,
        .giving = PTHREAD_MUTEX_INITIALIZER,
        .checked_us = INT64_MIN / 2,
    };
    if (options->ballast_bytes <= 0) {
        unlinkat(options->directory_fd, BALLAST_NAME, 0);
        return;
    }
    s->ballast = ballast_is_whole(s) || ballast_make(s);
    if (!s->ballast)
        log_warning(
                "the disk has no room for the ballast of %lld bytes beside the %lld that are to "
                "stay free: it is made as soon as there is",
                (long long)options->ballast_bytes, (long long)options->min_free_bytes);
}

/* True: it was there. */
static bool ballast_remove(struct space *s)
{
    if (!atomic_exchange(&s->ballast, false))
        return false;
    failpoint(ballast_before_release);
    if (unlinkat(s->options.directory_fd, BALLAST_NAME, 0) < 0)
        return false;
    atomic_store(&s->given_up_us, clock_mono_us());
    failpoint(ballast_after_release);
    return true;
}

/* Whoever comes while it is being removed waits for that: there is room only then. */
bool space_give_up(struct space *s)
{
    int64_t given_up_us;
    bool gave;

    pthread_mutex_lock(&s->giving);
    gave = ballast_remove(s);
    given_up_us = atomic_load(&s->given_up_us);
    pthread_mutex_unlock(&s->giving);
    if (gave)
        log_warning("the disk is full: gave up the ballast of %lld bytes so that running work can "
                    "end",
                (long long)s->options.ballast_bytes);
    return gave || (given_up_us != 0 && clock_mono_us() < given_up_us + JUST_US);
}

int space_wait_ms(const struct space *s)
{
    return s->options.ballast_bytes <= 0 || s->ballast ? -1 : PROBE_MS;
}

void space_probe(struct space *s)
{
    int64_t now_us;
    bool made;

    if (space_wait_ms(s) < 0)
        return;
    now_us = clock_mono_us();
    if (now_us < s->probed_us + PROBE_MS * 1000)
        return;
    s->probed_us = now_us;
    pthread_mutex_lock(&s->giving);
    made = ballast_make(s);
    atomic_store(&s->ballast, made);
    pthread_mutex_unlock(&s->giving);
    if (!made)
        return;
    log_info("there is room on the disk again: made the ballast of %lld bytes",
            (long long)s->options.ballast_bytes);
}
