/*
 * By frame pointers: at each one are the caller's frame pointer and the address to return to. Two
 * frames are noted while a task runs: that of the suspending call, and that which called its body;
 * the program's are between the two. A suspending call that ended with a jump has left its frame.
 */
#include "daemon/co/backtrace.h"

#include "daemon/co/runtime.h"
#include "daemon/co/switch.h"

#define MARKED_SIZE ((uintptr_t)16 << 16) /* what a mark tells apart */

/* Of a return address on the stack: with -mbranch-protection the bits above are its signature. */
#ifdef __aarch64__
#define PC_BITS (((uintptr_t)1 << 48) - 1)
#else
#define PC_BITS UINTPTR_MAX
#endif

struct frame {
    uintptr_t pc, fp;
};

static uintptr_t frame_marked(const struct fiber *f, uint16_t mark)
{
    uintptr_t below = (uintptr_t)f & ~(MARKED_SIZE - 1), frame = below + (uintptr_t)mark * 16;

    return frame < (uintptr_t)f ? frame : frame - MARKED_SIZE;
}

/* False where the chain ends, or leaves the stack. Frames are no objects that ASan knows of. */
__attribute__((no_sanitize("address"))) static bool frame_up(
        const struct fiber *f, struct frame *frame)
{
    const uintptr_t *words = (const uintptr_t *)frame->fp; // NOLINT(performance-no-int-to-ptr)

    if (frame->fp < (uintptr_t)f->sp || frame->fp > (uintptr_t)f - 2 * sizeof(*words) ||
            frame->fp % sizeof(*words) != 0 || words[0] <= frame->fp)
        return false;
    *frame = (struct frame){ .pc = words[1], .fp = words[0] };
    return true;
}

unsigned co_backtrace(const struct fiber *f, uintptr_t *ret, unsigned max)
{
    uintptr_t inner = frame_marked(f, f->inner), outer = frame_marked(f, f->outer);
    struct frame frame;
    unsigned n = 0;
    bool good = f->outer;

    co_switch_place(f->sp, &frame.pc, &frame.fp);
    while (good && frame.fp <= inner)
        good = frame_up(f, &frame);
    while (good && frame.fp < outer && n < max) {
        ret[n++] = frame.pc & PC_BITS;
        good = frame_up(f, &frame);
    }
    if (n == 0)
        ret[n++] = (uintptr_t)f->fn + 1;
    return n;
}
