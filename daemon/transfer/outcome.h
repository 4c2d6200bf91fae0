/* How an exchange ended: phases, failure, and a sentence about it. */
#pragma once

#include <curl/curl.h>

#include "daemon/model/attempt.h"

struct flight;

/* The attempt fails; a message that finds no memory is left out. */
__attribute__((format(printf, 5, 6))) void outcome_fail(struct attempt *a, enum failure failure,
        enum phase phase, bool retry_safe, const char *format, ...);
/* The attempt of `f` after libcurl ended with `code`; `text` is its own message, or "". */
void outcome_record(struct flight *f, CURL *curl, CURLcode code, const char *text);
/* It is over, but `failed` is set, of which its carrier did not know. */
void outcome_record_failed(struct flight *f);
/* Its carrier is gone with all that it knew but `asked_ns`; `how` ends a sentence about that. */
void outcome_record_lost(struct flight *f, const char *how);
/* It was over before libcurl began. */
void outcome_record_late(struct flight *f);
