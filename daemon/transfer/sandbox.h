/*
 * Shuts the calling process in for good: it may use the memory and the descriptors that it has, and
 * make connections over the internet. No file, no program, no other process, no listening.
 */
#pragma once

/* 0; 1: without Landlock, which the kernel has not; or -errno: not shut in. Every thread of it is. */
int sandbox_enter(void);
