/* What the service manager is told and hands over (sd_notify(3), sd_listen_fds(3)). No-ops without one. */
#pragma once

#include <stdint.h>

void notify_ready(const char *status);
/* RELOADING=1 with its clock in one message; a notify_ready() must follow, also after a failure. */
void notify_reloading(void);
/* STOPPING=1, and as notify_extend(). */
void notify_stopping(const char *status, int64_t extend_us);
/* While a stop takes time: the manager's own limit counts no more, but `extend_us` from now on does. */
void notify_extend(const char *status, int64_t extend_us);
void notify_watchdog(void);
/* How often notify_watchdog() is to be called: half of what the manager asks for; 0: it does not ask. */
int64_t notify_watchdog_interval_us(void);
/* Inherited listening sockets: their number (0 without activation), the first descriptor in *ret_first. -errno. */
int notify_listen_fds(int *ret_first);
