/* Several sums in one reply: protocols/he/packing.py has the algebra and the names, switching.inc what goes over
 * polynomials. Here p is y->packed, P the last prime of `switching`, whose others are those of `context`. */
#include "internal.h"

uint64_t kernel_packed_workspace_words(const kernel_context *context, const kernel_layout *layout, uint32_t raised) {
    if (!layout_is_valid(layout) || raised > 1) return 0;
    u64 primes = context->count, rows = primes + raised, others = layout->packed - 1;
    return (others * (rows + (raised ? 1 : 2) * primes) + 2 * rows + 2 * (primes + 1) + primes + 2) * N;
}

static int is_extension(const kernel_context *context, const kernel_context *switching) {
    if (switching->count != context->count + 1 || switching->set != context->set) return 0;
    for (u32 l = 0; l < switching->count; l++) {
        const modulus *m = &switching->moduli[l];
        if (m->bits != switching->moduli[0].bits || (l < context->count && m->p != context->moduli[l].p)) return 0;
    }
    return 1;
}

/* The whole reply, modulo q, into task->total. */
static void pack_sums(packing *task) {
    const kernel_context *c = task->c;
    u32 primes = c->count;
    for (u32 l = 0; l < task->rows; l++) c->set->fold(task, l);
    for (u32 l = 0; l < primes && task->rows > primes; l++) c->set->lower(task, l);
    for (u32 l = 0; l <= primes; l++) c->set->switch_keys(task, l);
    for (u32 l = 0; l < primes; l++) c->set->divide(task, l);
}

/* The same of one sum: nothing is moved. */
static void settle_sum(packing *task) {
    const kernel_context *c = task->c;
    u32 primes = c->count;
    for (u32 l = 0; l < task->rows; l++) c->set->settle(task, l);
    for (u32 l = 0; l < primes; l++) {
        if (task->rows > primes) c->set->divide(task, l);
        else add_error(&c->moduli[l], task->error, task->total + (primes + 1ull + l) * N);
    }
}

int kernel_packed_reply(const kernel_context *context, const kernel_context *switching, u32 raised, const u64 *keys,
                        const kernel_layout *layout, u32 part, u64 *const *sums, const u64 *mask, const int8_t *error,
                        const u64 *flooding, u64 flooding_words, const u64 *addend, u8 *body, u64 body_bytes, u64 *workspace,
                        u64 workspace_words) {
    u32 count = sums_of(layout, part), results = results_of(layout, part);
    if (!count || layout->packed < 2 || !is_extension(context, switching) || flooding_words != 6ull * results ||
        raised > 1 || workspace_words < kernel_packed_workspace_words(context, layout, raised) ||
        body_bytes != kernel_reply_bytes(context, layout, part))
        return KERNEL_BAD_ARGUMENT;
    u32 primes = context->count, first = part * layout->packed, columns = n_tiles(layout);
    u32 others = layout->packed - 1;
    packing task = {.c = context, .switching = switching, .packed = layout->packed, .count = count, .rows = primes + raised,
                    .sums = sums, .keys = keys, .mask = mask, .error = error};
    for (u32 l = 0; l < primes; l++) {
        u64 p = context->moduli[l].p;
        task.divisors[l] = power_mod(switching->moduli[primes].p % p, p - 2, p);
    }
    task.digits = workspace;
    task.own = task.digits + (u64)others * task.rows * N;
    task.started = task.own + (raised ? 0 : (u64)others * primes * N);
    task.parts = task.started + (u64)others * primes * N;
    task.total = task.parts + 2ull * task.rows * N;
    u64 *halves = task.total + 2 * (primes + 1ull) * N, *gathered = halves + 2 * N;
    (count > 1 ? pack_sums : settle_sum)(&task);
    for (u32 j = 0, taken = 0; j < count; j++) {
        window at;
        window_of(layout, (first + j) / columns, (first + j) % columns, &at);
        gather(context, layout, &at, task.total, moved_by(layout, count, j), flooding + 6ull * taken, addend, gathered + taken);
        taken += at.rows * at.columns;
    }
    write_reply(context, gathered, task.total + (primes + 1ull) * N, results, body, halves);
    return KERNEL_OK;
}
