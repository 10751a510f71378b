/* Several sums in one reply: protocols/he/packing.py has the algebra and the names, switching.inc and pairs.inc what goes over
 * polynomials. Here P is the last prime of `switching`, whose others are those of `context`. */
#include "internal.h"

/* Of a reply with more than JOINED sums, before what joins JOINED of them: c0 and c1 of those, modulo q P. */
static u64 node_words(u64 primes) { return JOINED * 2 * (primes + 1) * N; }

uint64_t kernel_packed_workspace_words(const kernel_context *context, const kernel_layout *layout, uint32_t raised) {
    if (!layout_is_valid(layout) || raised > 1) return 0;
    u64 primes = context->count, rows = primes + raised, others = JOINED - 1, pairs = 0;
    u64 joining = (others * (rows + (raised ? 1 : 2) * primes) + 2 * rows + 2 * (primes + 1) + primes + 2) * N;
    if (layout->packed > JOINED) {
        pairs = node_words(primes);
        joining = (others * (2 * primes + 1) + 4 * (primes + 1) + primes + 2) * N;
    }
    return pairs + joining;
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

/* ---- more sums than JOINED: pairs first */

/* One of the JOINED nodes: it has every JOINEDth sum. All rows are modulo q P. */
typedef struct {
    packing pair; /* digits, own and started are room */
    u32 level;    /* of its first pairs */
    u64 *results; /* [L + 1][N]: c0 where the node has results, in blocks (pairs.inc) */
    u64 *moved;   /* [N]: what is added to it */
    u64 *c0;      /* [L + 1][N]: what the keys made of a pair */
} node;

/* c0 of all sums at their results, in the order that they will have; in blocks, so times BLOCK. */
static void take_results(node *task, u64 *const *sums, u32 count) {
    const packing *t = &task->pair;
    const kernel_context *switching = t->switching;
    u32 period = 2 * SPACING(task->level);
    u64 special = switching->moduli[t->c->count].p;
    memset(task->results, 0, 8ull * switching->count * N);
    for (u32 l = 0; l < t->rows; l++) {
        const modulus *m = &switching->moduli[l];
        u64 *row = task->results + (u64)l * N;
        for (u32 i = 0; i < count; i++) {
            memcpy(task->moved, sums[JOINED * i] + (u64)l * N, 8 * N);
            t->c->set->inverse_blocks(m, task->moved);
            for (u32 at = 0; at < N; at += period) row[at + JOINED * i + JOINED - 1] = task->moved[at + period - 1];
        }
        if (t->rows == t->c->count) t->c->set->scale_row(m, special % m->p, row);
    }
}

/* Adds what the keys made of pair `number` of those that are `spacing` apart. */
static void add_results(node *task, u32 spacing, u32 number) {
    const kernel_context *switching = task->pair.switching;
    for (u32 l = 0; l < switching->count; l++) {
        u64 *made = task->c0 + (u64)l * N;
        switching->set->inverse_blocks(&switching->moduli[l], made);
        memset(task->moved, 0, 8 * N);
        for (u32 at = 0; at < N; at += spacing) task->moved[at + JOINED * number + JOINED - 1] = made[at + spacing - 1];
        switching->set->add(&switching->moduli[l], task->moved, task->results + (u64)l * N, N);
    }
}

/* c1 of a sum without a partner, moved and times P. */
static void move_alone(const packing *t, u32 level, const u64 *c1, u64 *out) {
    const kernel_context *switching = t->switching;
    u64 special = switching->moduli[t->c->count].p;
    for (u32 l = 0; l < t->rows; l++) {
        const modulus *m = &switching->moduli[l];
        switching->set->multiply(m, c1 + (u64)l * N, m->shifts[level], out + (u64)l * N, N);
        if (t->rows == t->c->count) switching->set->scale_row(m, special % m->p, out + (u64)l * N);
    }
    if (t->rows == t->c->count) memset(out + (u64)t->rows * N, 0, 8 * N);
}

/* A pair's c0, but for what its sums have at their results, and c1, which may take the place of the first sum's. */
static void join_pair(packing *t, u32 level, u64 *first, u64 *second, u64 *c0, u64 *c1) {
    const kernel_context *switching = t->switching;
    u32 primes = t->c->count, rows = t->rows;
    t->first_key = (JOINED - 1 + LEVELS - 1 - level) * primes;
    for (u32 l = 0; l < rows; l++) switching->set->meet(t, l, level, first + (u64)l * N, second + (u64)l * N);
    for (u32 l = 0; l < primes && rows > primes; l++) switching->set->lower(t, l);
    for (u32 l = 0; l <= primes; l++)
        switching->set->switch_pair(t, l, l < rows ? second + (u64)l * N : NULL, c0 + (u64)l * N, c1 + (u64)l * N);
}

/* Into out [2][L + 1][N], from every JOINEDth of the sums, `count` of them, whose c1 is overwritten. */
static void join_node(node *task, u64 *const *sums, u32 count, u64 *out) {
    packing *t = &task->pair;
    u32 primes = t->c->count, all = t->switching->count, half = SPACING(task->level) / JOINED;
    u64 words = (u64)all * N, *c1[MAX_PACKED / JOINED];
    take_results(task, sums, count);
    memset(out, 0, 8 * words);
    for (u32 i = 0; i < count; i++) c1[i] = sums[JOINED * i] + (u64)t->rows * N;
    for (u32 level = task->level; level < LEVELS; level++, half /= 2) {
        for (u32 i = 0; i < half && i < count; i++) {
            u64 *to = half == 1 ? out + words : sums[JOINED * i];
            if (i + half < count) join_pair(t, level, c1[i], c1[i + half], half == 1 ? out : task->c0, to);
            else move_alone(t, level, c1[i], to);
            if (i + half < count && half > 1) add_results(task, SPACING(level), i);
            c1[i] = to;
        }
        count = count < half ? count : half;
        t->rows = primes + 1;
    }
    for (u32 l = 0; l < all; l++) {
        const modulus *m = &t->switching->moduli[l];
        u64 *row = task->results + (u64)l * N;
        t->c->set->scale_row(m, m->p - (m->p - 1) / BLOCK, row);
        t->c->set->forward_blocks(m, row);
        t->c->set->add(m, row, out + (u64)l * N, N);
    }
}

/* The sums of a reply become JOINED of them, modulo q P. */
static void join_pairs(packing *task, u64 *nodes, u64 **joined_sums) {
    u64 primes = task->c->count, rows = primes + 1, *room = task->digits;
    u32 level = 0;
    while (2 * SPACING(level) > spacing(task->count)) level++;
    for (u32 i = 0; i < JOINED; i++) {
        node each = {.pair = *task, .level = level};
        each.pair.packed = 2;
        each.pair.own = room + rows * N;
        each.pair.started = each.pair.own + primes * N;
        each.results = each.pair.started + primes * N;
        each.c0 = each.results + rows * N;
        each.moved = each.c0 + rows * N;
        joined_sums[i] = nodes + i * 2 * rows * N;
        join_node(&each, task->sums + i, (task->count - i + JOINED - 1) / JOINED, joined_sums[i]);
    }
    task->sums = joined_sums;
    task->count = JOINED;
    task->rows = primes + 1;
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

/* Where a task's polynomials are; returns what is left. */
static u64 *place(packing *task, u64 *at) {
    u64 primes = task->c->count, others = JOINED - 1, known = task->rows == primes ? others * primes : 0;
    task->digits = at;
    task->own = task->digits + others * task->rows * N;
    task->started = task->own + known * N;
    task->parts = task->started + others * primes * N;
    task->total = task->parts + 2ull * task->rows * N;
    return task->total + 2 * (primes + 1) * N;
}

int kernel_packed_reply(const kernel_context *context, const kernel_context *switching, uint32_t raised, const u64 *keys,
                        uint32_t key_parts, const kernel_layout *layout, uint32_t part, u64 *const *sums, const u64 *mask,
                        const int8_t *error, const u64 *flooding, u64 flooding_words, const u64 *addend, u8 *body, u64 body_bytes,
                        u64 *workspace, u64 workspace_words) {
    u32 count = sums_of(layout, part), results = results_of(layout, part), automorphisms = JOINED - 1;
    if (!count || layout->packed < JOINED || !is_extension(context, switching) || flooding_words != 6ull * results ||
        raised > 1 || workspace_words < kernel_packed_workspace_words(context, layout, raised) ||
        body_bytes != kernel_reply_bytes(context, layout, part))
        return KERNEL_BAD_ARGUMENT;
    u32 primes = context->count, first = part * layout->packed, columns = n_tiles(layout);
    for (u32 apart = spacing(count); apart > JOINED; apart /= 2) automorphisms++;
    if (key_parts < automorphisms * primes) return KERNEL_BAD_ARGUMENT;
    packing task = {.c = context, .switching = switching, .packed = JOINED, .count = count, .rows = primes + raised,
                    .sums = sums, .keys = keys, .key_parts = key_parts, .mask = mask, .error = error};
    for (u32 l = 0; l < primes; l++) {
        u64 p = context->moduli[l].p;
        task.divisors[l] = power_mod(switching->moduli[primes].p % p, p - 2, p);
    }
    u64 *room = workspace, *nodes[JOINED];
    if (count > JOINED) {
        task.digits = room += node_words(primes);
        join_pairs(&task, workspace, nodes);
    }
    u64 *halves = place(&task, room), *gathered = halves + 2 * N;
    (count > 1 ? pack_sums : settle_sum)(&task);
    for (u32 j = 0, taken = 0; j < count; j++) {
        window at;
        window_of(layout, (first + j) / columns, (first + j) % columns, &at);
        gather(context, layout, &at, task.total, moved_by(count, j), flooding + 6ull * taken, addend, gathered + taken);
        taken += at.rows * at.columns;
    }
    write_reply(context, gathered, task.total + (primes + 1ull) * N, results, body, halves);
    return KERNEL_OK;
}
