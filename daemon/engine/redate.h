/* Jumps of the wall clock move the jobs that wait for a date of it (`at`), and nothing else. */
#pragma once

#include "daemon/co/suspends.h"

struct clock_watch;

/* Of the engine's clock_watch. */
void redate_jumped(struct clock_watch *w);
/* Suspends. The task; until the service stops. */
CO_SUSPENDS int redate_main(void *engine);
