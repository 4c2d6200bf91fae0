/*
 * Coroutines on one event loop: asyncio's model in C. This is the whole public face.
 *
 *   task.h   run, spawn, await, shield, cancel; futures; the way in from other threads
 *   scope.h  deadlines, shields, groups that join their children
 *   sync.h   event, permit gate, lock, condition, channel
 *   wait.h   sleep, yield, descriptors, gather, wait, as completed, blocking code on threads
 *   info.h   who is there and waits for what; names, context variables
 *
 * Rules that hold everywhere:
 * - A call whose comment says "Suspends." may only be made from a coroutine (-EPERM elsewhere) and
 *   returns 0, -ECANCELED, -ETIMEDOUT or another -errno. The loop's other work runs meanwhile.
 * - Cancellation is level-triggered: while a scope around the caller is cancelled, each suspending
 *   call returns -ECANCELED (or -ETIMEDOUT is made of it where the scope closes) without waiting.
 *   Nothing is unwound: code returns.
 * - A coroutine stays on its thread for ever. Other threads use co_post().
 * - Stacks are 64 KiB. Large buffers live on the heap; foreign libraries run by co_on_loop() or
 *   co_to_thread().
 * - Deadlines are absolute CLOCK_MONOTONIC nanoseconds, as co_deadline() makes; CO_NEVER is none.
 * - In debug mode (co_options, or CO_DEBUG=1) a task that runs for more than 100 ms without waiting,
 *   and a shield without a deadline, is warned of, and a call that gives -EPERM or -EINVAL because
 *   of where or on what it is made ends the process.
 */
#pragma once

#include "daemon/co/info.h"
#include "daemon/co/scope.h"
#include "daemon/co/sync.h"
#include "daemon/co/task.h"
#include "daemon/co/wait.h"
