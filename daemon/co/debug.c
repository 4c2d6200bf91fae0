/* What debug mode adds: slices that last too long, and an end at the first call that can't be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/co/runtime.h"

#define SLICE_MAX_NS 100000000LL /* asyncio's slow_callback_duration */

void co_debug_leave(struct fiber *from)
{
    struct co_loop *l = from->loop;
    int64_t now_ns = clock_mono_ns();

    if (from != &l->home && now_ns - l->slice_ns > SLICE_MAX_NS)
        log_warning("task %s ran for %lld ms without waiting", from->name,
                (long long)((now_ns - l->slice_ns) / 1000000));
    l->slice_ns = now_ns;
}

void co_debug_misuse(const char *what, int rc)
{
    struct co_task self = co_self();

    log_error("%s (%s), by task %u.%u", what, strerrordesc_np(-rc), self.slot, self.gen);
    abort();
}
