/* Several sums in one reply: protocols/he/packing.py has the algebra and the names, switching.inc and pairs.inc what goes over
 * polynomials. Here P is the last prime of `switching`, whose others are those of `context`. */
#include "internal.h"

/* The rows of N words that a reply takes. */
typedef struct {
    u64 nodes;   /* c0 and c1 of JOINED sums, modulo q P, which more sums become first; and c0 at the results of all */
    u64 pairs;   /* digits of a pair of each node, and the same modulo their own primes */
    u64 joining; /* as `place` has it, but for what each caller has of its own */
    u64 own;     /* of each caller: transforms under way, and one row more */
} room;

static room room_of(u64 primes, u64 rows, int has_pairs) {
    u64 others = JOINED - 1, known = rows == primes ? others * primes : 0;
    room out = {0, 0, others * rows + known + 2 * rows + 2 * (primes + 1) + primes + 2, others * primes + 1};
    if (has_pairs) {
        out.nodes = (2 * JOINED + 1) * (primes + 1);
        out.pairs = JOINED * (2 * primes + 1);
    }
    return out;
}

INLINE u64 larger(u64 a, u64 b) { return a > b ? a : b; }

/* A reply of a layout may have few sums where the others have many. */
uint64_t kernel_packed_workspace_words(const kernel_context *context, const kernel_layout *layout, uint32_t raised,
                                       uint32_t callers) {
    if (!layout_is_valid(layout) || raised > 1 || !callers || callers > MAX_CALLERS) return 0;
    u64 primes = context->count;
    room few = room_of(primes, primes + raised, 0), many = room_of(primes, primes + 1, layout->packed > JOINED);
    return (larger(few.joining, many.nodes + larger(many.pairs, many.joining)) + few.own * callers) * N;
}

static int is_extension(const kernel_context *context, const kernel_context *switching) {
    if (switching->count != context->count + 1 || switching->set != context->set) return 0;
    for (u32 l = 0; l < switching->count; l++) {
        const modulus *m = &switching->moduli[l];
        if (m->bits != switching->moduli[0].bits || (l < context->count && m->p != context->moduli[l].p)) return 0;
    }
    return 1;
}

/* What is added to c0 was kept times BLOCK, in blocks. */
static void end_results(const packing *task, u32 l) {
    const modulus *m = &task->switching->moduli[l];
    u64 *row = task->results + (u64)l * N;
    task->c->set->scale_values(m, m->p - (m->p - 1) / BLOCK, row, N);
    task->c->set->forward_blocks(m, row);
}

/* The whole reply, modulo q, into task->total. */
static void pack_sums(packing *task, team *all) {
    const kernel_context *c = task->c;
    u32 primes = c->count, item;
    while (take(all, task->rows, &item)) {
        if (task->results) end_results(task, item);
        c->set->fold(task, item);
    }
    if (task->rows > primes)
        while (take(all, (JOINED - 1) * primes, &item)) c->set->lower(task, item / (JOINED - 1), item % (JOINED - 1));
    while (take(all, primes + 1, &item)) c->set->switch_keys(task, item);
    while (take(all, 2 * primes, &item)) c->set->divide(task, item / 2, item % 2);
}

/* ---- more sums than JOINED: pairs first */

/* One of the JOINED nodes: it has every JOINEDth sum, from its number on. */
typedef struct {
    packing pair; /* of one of its pairs */
    u32 number, count;
    u64 *const *sums;
    u64 *c1[MAX_PACKED / JOINED]; /* of what its sums have become */
    u64 *out;                     /* [2][L + 1][N]: what they become in the end, but for c0 at the results */
} node;

/* c0 of a node's sums at their results, one prime of it: to where they will be in the reply's. */
static void take_results(const node *task, u32 l, u32 period) {
    const packing *t = &task->pair;
    const kernel_context *switching = t->switching;
    const modulus *m = &switching->moduli[l];
    u64 special = switching->moduli[t->c->count].p, *row = t->results + (u64)l * N, *values = t->scratch;
    for (u32 i = 0; i < period / JOINED; i++) {
        int is_there = i < task->count && l < t->rows;
        if (is_there) switching->set->pick(m, task->sums[JOINED * i] + (u64)l * N, period, values);
        if (is_there && t->rows == t->c->count) switching->set->scale_values(m, special % m->p, values, N / period);
        for (u32 at = 0; at < N / period; at++) row[period * at + JOINED * i + task->number] = is_there ? values[at] : 0;
    }
}

/* Adds what the keys made of pair `number` of those that are `spacing` apart, which is in t->scratch. */
static void add_results(const node *task, u32 l, u32 spacing, u32 number) {
    const packing *t = &task->pair;
    const kernel_context *switching = t->switching;
    const modulus *m = &switching->moduli[l];
    u64 *row = t->results + (u64)l * N + JOINED * number + task->number, *made = t->scratch, *values = made + N / 2;
    switching->set->pick(m, made, spacing, made);
    for (u32 at = 0; at < N / spacing; at++) values[at] = row[spacing * at];
    switching->set->add(m, made, values, N / spacing);
    for (u32 at = 0; at < N / spacing; at++) row[spacing * at] = values[at];
}

/* c1 of a sum without a partner, one prime of it: moved and times P. */
static void move_alone(const packing *t, u32 l, u32 level, const u64 *c1, u64 *out) {
    const kernel_context *switching = t->switching;
    const modulus *m = &switching->moduli[l];
    u64 special = switching->moduli[t->c->count].p;
    switching->set->multiply(m, c1 + (u64)l * N, m->shifts[level], out + (u64)l * N, N);
    if (t->rows == t->c->count) switching->set->scale_values(m, special % m->p, out + (u64)l * N, N);
}

/* Pair i of a level, or the sum that has no partner there. c1 takes the place of the first sum. */
typedef struct {
    u64 *first, *second, *c1;
    u32 level, i;
    int is_last; /* of its node */
} meeting;

static meeting meeting_of(const node *task, u32 level, u32 i) {
    u32 half = SPACING(level) / JOINED;
    u64 words = (u64)task->pair.switching->count * N;
    return (meeting){task->c1[i], i + half < task->count ? task->c1[i + half] : NULL,
                     half == 1 ? task->out + words : task->sums[JOINED * i], level, i, half == 1};
}

/* One prime of both, before the keys are needed. */
static void begin_meeting(const packing *t, const meeting *at, u32 l) {
    u64 row = (u64)l * N;
    if (at->second) t->switching->set->meet(t, l, at->level, at->first + row, at->second + row);
    else move_alone(t, l, at->level, at->first, at->c1);
}
/* One prime of what they become. */
static void end_meeting(const node *task, const meeting *at, u32 l) {
    const packing *t = &task->pair;
    u64 row = (u64)l * N, *c0 = at->is_last ? task->out + row : t->scratch;
    if (at->second) {
        t->switching->set->switch_pair(t, l, l < t->rows ? at->second + row : NULL, c0, at->c1 + row);
        if (!at->is_last) add_results(task, l, SPACING(at->level), at->i);
        return;
    }
    if (at->is_last) memset(c0, 0, 8 * N);
    if (l == t->rows) memset(at->c1 + row, 0, 8 * N);
}

/* Number i of each node's meetings of a level. Each step goes over all primes, and all nodes of one after the other. */
static void meet_all(node *nodes, u32 level, u32 i, u32 takes_results, team *all) {
    u32 primes = nodes->pair.c->count, rows = nodes->pair.rows, item;
    meeting at[JOINED];
    for (u32 n = 0; n < JOINED; n++) at[n] = meeting_of(&nodes[n], level, i);
    while (take(all, JOINED * (takes_results ? primes + 1 : rows), &item)) {
        u32 n = item % JOINED, l = item / JOINED;
        if (takes_results) take_results(&nodes[n], l, 2 * SPACING(level));
        if (l < rows) begin_meeting(&nodes[n].pair, &at[n], l);
    }
    if (rows > primes)
        while (take(all, JOINED * primes, &item))
            if (at[item % JOINED].second) nodes->pair.c->set->lower(&nodes[item % JOINED].pair, item / JOINED, 0);
    while (take(all, JOINED * (primes + 1), &item)) end_meeting(&nodes[item % JOINED], &at[item % JOINED], item / JOINED);
    for (u32 n = 0; n < JOINED; n++) nodes[n].c1[i] = at[n].c1;
}

/* The sums of a reply become JOINED of them, modulo q P, in `out`; then task->results is to be added to c0. */
static void join_pairs(packing *task, u64 *out, u64 **joined_sums, team *all) {
    u64 primes = task->c->count, rows = primes + 1;
    u32 level = 0;
    node nodes[JOINED];
    while (2 * SPACING(level) > spacing(task->count)) level++;
    task->results = out + 2 * JOINED * rows * N;
    for (u32 n = 0; n < JOINED; n++) {
        node *each = &nodes[n];
        *each = (node){.pair = *task, .number = n, .count = (task->count - n + JOINED - 1) / JOINED, .sums = task->sums + n};
        each->pair.packed = 2;
        each->pair.digits = task->digits + n * (rows + primes) * N;
        each->pair.own = each->pair.digits + rows * N;
        each->out = joined_sums[n] = out + n * 2 * rows * N;
        for (u32 i = 0; i < each->count; i++) each->c1[i] = each->sums[JOINED * i] + (u64)task->rows * N;
    }
    for (u32 top = level; level < LEVELS; level++) {
        u32 half = SPACING(level) / JOINED;
        for (u32 n = 0; n < JOINED; n++) nodes[n].pair.first_key = (JOINED - 1 + LEVELS - 1 - level) * (u32)primes;
        for (u32 i = 0; i < half; i++) meet_all(nodes, level, i, level == top && !i, all);
        for (u32 n = 0; n < JOINED; n++) {
            nodes[n].count = nodes[n].count < half ? nodes[n].count : half;
            nodes[n].pair.rows = (u32)rows;
        }
    }
    task->sums = joined_sums;
    task->count = JOINED;
    task->rows = (u32)rows;
}

/* The same of one sum: nothing is moved. */
static void settle_sum(packing *task, team *all) {
    const kernel_context *c = task->c;
    u32 primes = c->count, item;
    while (take(all, task->rows, &item)) c->set->settle(task, item);
    if (task->rows > primes)
        while (take(all, 2 * primes, &item)) c->set->divide(task, item / 2, item % 2);
    else
        while (take(all, primes, &item)) add_error(&c->moduli[item], task->error, task->total + (primes + 1ull + item) * N);
}

/* Where a task's polynomials are; returns what is left. */
static u64 *place(packing *task, u64 *at) {
    u64 primes = task->c->count, others = JOINED - 1, known = task->rows == primes ? others * primes : 0;
    task->digits = at;
    task->own = task->digits + others * task->rows * N;
    task->parts = task->own + known * N;
    task->total = task->parts + 2ull * task->rows * N;
    return task->total + 2 * (primes + 1) * N;
}

/* What one reply is made of beside its sums, and where it goes. */
typedef struct {
    const kernel_layout *layout;
    u32 part, count, results;
    const u64 *flooding, *addend;
    u8 *body;
} reply;

/* The bytes, from task->total. room: 2 + L rows. */
static void write_packed(const packing *task, const reply *to, u64 *halves, team *all) {
    const kernel_context *c = task->c;
    const kernel_layout *y = to->layout;
    u32 columns = n_tiles(y), first = to->part * y->packed, taken[MAX_PACKED + 1] = {0}, item;
    const u64 *c1 = task->total + (c->count + 1ull) * N;
    u64 *gathered = halves + 2 * N;
    window at[MAX_PACKED];
    for (u32 j = 0; j < to->count; j++) {
        window_of(y, (first + j) / columns, (first + j) % columns, &at[j]);
        taken[j + 1] = taken[j] + at[j].rows * at[j].columns;
    }
    u8 *rest = to->body + packed_bytes(to->results, c->scale_bits - c->drop_bits);
    while (take(all, written_pieces(N), &item)) write_values(c, c1, N, item, 0, rest, halves);
    while (take(all, to->count, &item)) {
        gather(c, y, &at[item], task->total, moved_by(to->count, item), to->flooding + 6ull * taken[item], to->addend,
               gathered + taken[item]);
    }
    while (take(all, written_pieces(to->results), &item))
        write_values(c, gathered, to->results, item, c->drop_bits, to->body, halves);
}

int kernel_packed_reply(const kernel_context *context, const kernel_context *switching, uint32_t raised, const u64 *keys,
                        uint32_t key_parts, const kernel_layout *layout, uint32_t part, u64 *const *sums, const u64 *mask,
                        const int8_t *error, const u64 *flooding, u64 flooding_words, const u64 *addend, u8 *body, u64 body_bytes,
                        kernel_share *share, u64 *workspace, u64 workspace_words) {
    u32 count = sums_of(layout, part), results = results_of(layout, part), automorphisms = JOINED - 1;
    if (!count || layout->packed < JOINED || !is_extension(context, switching) || flooding_words != 6ull * results ||
        raised > 1 || !share_is_valid(share) || body_bytes != kernel_reply_bytes(context, layout, part) ||
        workspace_words < kernel_packed_workspace_words(context, layout, raised, callers_in(share)))
        return KERNEL_BAD_ARGUMENT;
    u32 primes = context->count;
    for (u32 apart = spacing(count); apart > JOINED; apart /= 2) automorphisms++;
    if (key_parts < automorphisms * primes) return KERNEL_BAD_ARGUMENT;
    packing task = {.c = context, .switching = switching, .packed = JOINED, .count = count, .rows = primes + raised,
                    .sums = sums, .keys = keys, .key_parts = key_parts, .mask = mask, .error = error};
    for (u32 l = 0; l < primes; l++) {
        u64 p = context->moduli[l].p;
        task.divisors[l] = power_mod(switching->moduli[primes].p % p, p - 2, p);
    }
    room many = room_of(primes, primes + 1, count > JOINED);
    u64 *nodes[JOINED], own = room_of(primes, primes + raised, 0).own * N;
    task.started = workspace + own * number_in(share);
    task.scratch = task.started + own - N;
    workspace += own * callers_in(share);
    team all;
    join_team(&all, share);
    if (count > JOINED) {
        task.digits = workspace + many.nodes * N;
        join_pairs(&task, workspace, nodes, &all);
        workspace += many.nodes * N;
    }
    u64 *halves = place(&task, workspace);
    (count > 1 ? pack_sums : settle_sum)(&task, &all);
    write_packed(&task, &(reply){layout, part, count, results, flooding, addend, body}, halves, &all);
    return end_of_work(&all);
}
