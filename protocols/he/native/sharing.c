/* How several callers make one thing together (kernel.h: kernel_share). What they share is two counters in memory of theirs. */
#define _POSIX_C_SOURCE 199309L /* nanosleep, also where a compiler keeps to ISO C */
#include <time.h>

#include "internal.h"

#define LINE 8      /* words of a cache line: counters do not share one */
#define LOOKS 6000 /* before a waiting caller gives way: some 150 microseconds, about what the longest item takes */
#define NAP 100000  /* nanoseconds */

static void look_again(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* What is waited for is under way in another thread. If it takes long, that one does not run: so it gets this core, for a while
 * from the first caller, who will end the work, and for good from the others. */
static void wait_a_little(team *t, u32 *looks) {
    if (++*looks < LOOKS) look_again();
    else if (t->stays) nanosleep(&(struct timespec){.tv_nsec = NAP}, NULL);
    else t->has_left = 1;
}

void join_team(team *t, kernel_share *share) {
    memset(t, 0, sizeof *t);
    t->stays = number_in(share) == 0;
    t->next = share ? share->progress : &t->alone[0];
    t->done = share ? share->progress + LINE : &t->alone[1];
    t->before = share ? &share->begun : &t->alone[2];
}

int take(team *t, u32 count, u32 *item) {
    if (t->holds) __atomic_fetch_add(t->done, 1, __ATOMIC_RELEASE);
    t->holds = 0;
    for (u32 looks = 0; !t->has_left;) {
        u64 next = __atomic_load_n(t->next, __ATOMIC_RELAXED);
        if (next >= *t->before + count) {
            *t->before += count;
            return 0;
        }
        /* Nothing is taken before it can begin: a waiting caller that is put to sleep keeps nobody. */
        if (__atomic_load_n(t->done, __ATOMIC_ACQUIRE) < *t->before) {
            wait_a_little(t, &looks);
        } else if (__atomic_compare_exchange_n(t->next, &next, next + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            *item = (u32)(next - *t->before);
            return t->holds = 1;
        }
    }
    return 0;
}

int end_of_work(team *t) {
    for (u32 looks = 0; t->stays && __atomic_load_n(t->done, __ATOMIC_ACQUIRE) < *t->before;) wait_a_little(t, &looks);
    return t->has_left ? KERNEL_LEFT : KERNEL_OK;
}
