#include "daemon/base/notify.h"

#include <stddef.h>
#include <systemd/sd-daemon.h>

#include "daemon/base/clock.h"

void notify_ready(const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void notify_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
}

void notify_stopping(const char *status, int64_t extend_us)
{
    sd_notifyf(0, "STOPPING=1\nSTATUS=%s\nEXTEND_TIMEOUT_USEC=%lld", status, (long long)extend_us);
}

void notify_extend(const char *status, int64_t extend_us)
{
    sd_notifyf(0, "STATUS=%s\nEXTEND_TIMEOUT_USEC=%lld", status, (long long)extend_us);
}

void notify_watchdog(void)
{
    sd_notify(0, "WATCHDOG=1");
}

int64_t notify_watchdog_interval_us(void)
{
    uint64_t us = 0;

    return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 2) : 0;
}

int notify_listen_fds(int *ret_first)
{
    int n = sd_listen_fds(1);

    if (n > 0)
        *ret_first = SD_LISTEN_FDS_START;
    return n;
}
