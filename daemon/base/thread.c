#include "daemon/base/thread.h"

#include <signal.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"

#define NAME_SIZE 16 /* the kernel's */

int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *arg), void *arg)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
    char shown[NAME_SIZE];
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(ret, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        return rc;
    snprintf(shown, sizeof(shown), "%s", name);
    pthread_setname_np(*ret, shown);
    return 0;
}
