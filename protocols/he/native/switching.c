/* Several sums in one reply: protocols/he/packing.py has the algebra and the names. Here p is y->packed, P the last prime of
 * `switching`, whose others are those of `context`. */
#include "internal.h"

/* Everything that one packed reply works in, within the caller's workspace. */
typedef struct {
    u64 *classes; /* [p][N]; then one prime's digits, [(p - 1) L][N] */
    u64 *folded;  /* [p][L][N] */
    u64 *sum;     /* [2][L + 1][N] */
    u64 *rest;    /* for tiles, and in the end [L + 2][N] */
} room;

static u64 digits_of(const kernel_context *c, u32 packed) { return (packed - 1) * (u64)c->count; }

uint64_t kernel_packed_workspace_words(const kernel_context *context, const kernel_layout *layout) {
    if (!layout_is_valid(layout)) return 0;
    u64 p = layout->packed, primes = context->count, digits = digits_of(context, layout->packed);
    u64 classes = digits > p ? digits : p;
    return (classes + p * primes + 2 * (primes + 1) + primes + 2) * N + MAX_CHUNK * BLOCK;
}

static room rooms(const kernel_context *c, const kernel_layout *y, u64 *workspace) {
    u64 p = y->packed, digits = digits_of(c, y->packed);
    room r;
    r.classes = workspace;
    r.folded = r.classes + (digits > p ? digits : p) * N;
    r.sum = r.folded + p * c->count * N;
    r.rest = r.sum + 2ull * (c->count + 1) * N;
    return r;
}

/* Coefficient i of X^(j - r) p_j, for all j below count: classes[(i - j) mod p][i]. Moved over an end it is negated. */
static void classify(const modulus *m, u32 packed, u32 back, u32 count, u64 *const *sums, u64 row, u64 *classes) {
    memset(classes, 0, 8ull * packed * N);
    for (u32 j = 0; j < count; j++) {
        const u64 *from = sums[j] + row * N;
        for (u32 e = 0; e < N; e++) {
            u32 to = e + N + j - back, wraps = to < N || to >= 2 * N;
            u64 value = from[e];
            if (wraps) value = once(m->p - value, m->p);
            classes[((e + packed - back) & (packed - 1)) * (u64)N + (to & (N - 1))] = value;
        }
    }
}

/* out[k] = sum over u of X^(k u 2N/p) classes[u], out[k] being `stride` words apart. */
static void combine(const modulus *m, u32 packed, const u64 *classes, u64 *out, u64 stride) {
    u32 turn = 2 * N / packed, turns = packed / 2;
    u64 p = m->p;
    for (u32 k = 0; k < packed; k++) {
        u64 *total = out + k * stride;
        memcpy(total, classes, 8 * N);
        for (u32 u = 1; u < packed; u++) {
            for (u32 b = 0; b < turns; b++) {
                u32 to = (b + k * u) % packed; /* a turn by N negates */
                const u64 *from = classes + (u64)u * N + b * turn;
                u64 *at = total + (to % turns) * turn;
                if (to < turns) for (u32 i = 0; i < turn; i++) at[i] += from[i];
                else for (u32 i = 0; i < turn; i++) at[i] += p - from[i];
            }
        }
        for (u32 i = 0; i < N; i++) {
            u64 x = total[i]; /* at most packed p */
            for (u64 step = packed / 2 * p; step >= p; step /= 2) x = once(x, step);
            total[i] = once(x, p);
        }
    }
}

/* sum = sum over digits of digit times key, as residues modulo all primes. */
static void switch_keys(const kernel_context *c, const kernel_context *switching, u32 packed, const u64 *keys, const room *r) {
    u64 digits = digits_of(c, packed);
    memset(r->sum, 0, 16ull * switching->count * N);
    for (u32 l = 0; l < switching->count; l++) {
        const modulus *m = &switching->moduli[l];
        for (u64 d = 0; d < digits; d++) {
            const u64 *from = r->folded + (c->count + d) * N;
            u64 *to = r->classes + d * N;
            for (u32 i = 0; i < N; i++) to[i] = once(from[i], m->p); /* primes of one length: below 2 p */
            switching->set->forward(m, to);
        }
        switching->set->sum_parts(switching, l, (u32)digits, r->classes, keys, r->sum, r->rest);
        for (u32 half = 0; half < 2; half++) switching->set->inverse(m, r->sum + ((u64)half * switching->count + l) * N);
    }
}

/* One row of x / P, rounded. `last`: x modulo P. */
static void divide(const modulus *special, const modulus *m, const u64 *last, u64 *row) {
    u64 p = m->p, half = special->p / 2, inverse = power_mod(special->p % p, p - 2, p), shoup = shoup_of(inverse, p);
    u64 offset = half % p + p;
    for (u32 i = 0; i < N; i++) {
        u64 raised = once(once(last[i] + half, special->p), p);
        row[i] = once(times(row[i] + offset - raised, inverse, shoup, p), p);
    }
}

/* c1 of the reply into the first row of `folded` for each prime; what is added to its c0 into `sum`. */
static void pack_sums(const kernel_context *c, const kernel_context *switching, const kernel_layout *y, u32 count,
                      u64 *const *sums, const u64 *keys, const room *r) {
    u32 primes = c->count, back = (y->k_tile - 1) & (y->packed - 1);
    for (u32 l = 0; l < primes; l++) {
        classify(&c->moduli[l], y->packed, back, count, sums, primes + l, r->classes);
        combine(&c->moduli[l], y->packed, r->classes, r->folded + (u64)l * N, (u64)primes * N);
    }
    switch_keys(c, switching, y->packed, keys, r);
    for (u32 l = 0; l < primes; l++) {
        const modulus *m = &c->moduli[l], *special = &switching->moduli[primes];
        u64 *c0 = r->sum + (u64)l * N, *c1 = c0 + (primes + 1ull) * N, *own = r->folded + (u64)l * N;
        divide(special, m, r->sum + (u64)primes * N, c0);
        divide(special, m, r->sum + (2 * primes + 1ull) * N, c1);
        u64 part = power_mod(y->packed, m->p - 2, m->p), shoup = shoup_of(part, m->p);
        for (u32 i = 0; i < N; i++) own[i] = once(once(times(own[i], part, shoup, m->p), m->p) + c1[i], m->p);
    }
}

static int is_extension(const kernel_context *context, const kernel_context *switching) {
    if (switching->count != context->count + 1 || switching->set != context->set) return 0;
    for (u32 l = 0; l < switching->count; l++) {
        const modulus *m = &switching->moduli[l];
        if (m->bits != switching->moduli[0].bits || (l < context->count && m->p != context->moduli[l].p)) return 0;
    }
    return 1;
}

int kernel_packed_reply(const kernel_context *context, const kernel_context *switching, const u64 *keys,
                        const kernel_layout *layout, u32 part, u64 *const *sums, const u64 *mask, const u64 *flooding,
                        u64 flooding_words, const u64 *addend, u8 *body, u64 body_bytes, u64 *workspace, u64 workspace_words) {
    u32 count = sums_of(layout, part), results = results_of(layout, part);
    if (!count || layout->packed < 2 || !is_extension(context, switching) || flooding_words != 6ull * results ||
        workspace_words < kernel_packed_workspace_words(context, layout) ||
        body_bytes != kernel_reply_bytes(context, layout, part))
        return KERNEL_BAD_ARGUMENT;
    u32 primes = context->count, first = part * layout->packed, columns = n_tiles(layout);
    room r = rooms(context, layout, workspace);
    for (u32 j = 0; j < count; j++)
        for (u32 row = 0; row < 2 * primes; row++) context->set->inverse(&context->moduli[row % primes], sums[j] + (u64)row * N);
    u64 *c1 = r.folded;
    if (count > 1) {
        pack_sums(context, switching, layout, count, sums, keys, &r);
    } else {
        memset(r.sum, 0, 8ull * primes * N);
        memcpy(c1, sums[0] + (u64)primes * N, 8ull * primes * N);
    }
    for (u32 l = 0; l < primes; l++) {
        u64 p = context->moduli[l].p, *extra = r.sum + (u64)l * N, *row = c1 + (u64)l * N;
        for (u32 i = 0; i < N; i++) {
            extra[i] = once(extra[i] + mask[(u64)l * N + i], p);
            row[i] = once(row[i] + mask[((u64)primes + l) * N + i], p);
        }
    }
    u64 *gathered = r.rest + 2ull * N;
    for (u32 j = 0, taken = 0; j < count; j++) {
        window at;
        window_of(layout, (first + j) / columns, (first + j) % columns, &at);
        gather(context, layout, &at, sums[j], r.sum, moved_by(layout, count, j), flooding + 6ull * taken, addend, gathered + taken);
        taken += at.rows * at.columns;
    }
    write_reply(context, gathered, c1, results, body, r.rest);
    return KERNEL_OK;
}
