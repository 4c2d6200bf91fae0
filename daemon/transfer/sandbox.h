/*
 * Shuts the calling process in for good: it may use the memory and the descriptors that it has, and
 * make TCP connections over the internet. No capability, no file, no program, no other process, no
 * listening.
 */
#pragma once

/*
 * 0; 1: without Landlock, which the kernel has not; or -errno: not shut in. For a process of one thread:
 * of others only the system calls are filtered.
 */
int sandbox_enter(void);
