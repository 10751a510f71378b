/* Contexts: the constants of every prime, and the tables of roots in the form that the instruction set wants. */
#include <stdlib.h>

#include "internal.h"

u64 power_mod(u64 base, u64 exponent, u64 p) {
    u64 result = 1;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1) result = (u64)((u128)result * base % p);
        base = (u64)((u128)base * base % p);
    }
    return result;
}

static u64 multiply_mod(u64 a, u64 b, u64 p) { return (u64)((u128)a * b % p); }
static u64 inverse_mod(u64 x, u64 p) { return power_mod(x % p, p - 2, p); }
static u64 minus(u64 x, u64 p) { return x ? p - x : 0; }

void wipe(void *at, size_t bytes) {
    volatile u8 *byte = at; /* volatile, so that no compiler leaves it out */
    while (bytes--) *byte++ = 0;
}

/* ---- instruction sets */

static const operations *const SETS[] = {
#if defined(__x86_64__)
    &kernel_set_ifma,
    &kernel_set_avx2,
#endif
#if defined(__aarch64__)
    &kernel_set_neon,
#endif
    &kernel_set_scalar,
};
#define SET_COUNT (sizeof SETS / sizeof *SETS)

static int can_run(const operations *set) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (set == &kernel_set_ifma)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512ifma");
    if (set == &kernel_set_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    (void)set; /* every processor for aarch64 has NEON */
    return 1;
}

const char *kernel_instruction_sets(void) {
    static const char *const NAMES[] = {"scalar", "avx2,scalar", "ifma,scalar", "ifma,avx2,scalar", "neon,scalar"};
#if defined(__x86_64__)
    return NAMES[2 * can_run(&kernel_set_ifma) + can_run(&kernel_set_avx2)];
#elif defined(__aarch64__)
    return NAMES[4];
#else
    return NAMES[0];
#endif
}

static const operations *find_set(const char *name) {
    for (size_t i = 0; i < SET_COUNT; i++)
        if ((!*name || !strcmp(name, SETS[i]->name)) && can_run(SETS[i])) return SETS[i];
    return NULL;
}

const char *kernel_instruction_set(const kernel_context *context) { return context->set->name; }

/* ---- roots */

static int is_generated(u64 p) { return p % (2 * N) == 1 && p > 1ull << (MIN_PRIME_BITS - 1) && p < 1ull << MAX_PRIME_BITS; }

/* The least primitive 2N-th root, or 0: then p is no prime. */
static u64 least_root(u64 p) {
    u64 root = 0;
    for (u64 g = 2; !root && g < 1000; g++) {
        u64 candidate = power_mod(g, (p - 1) / (2 * N), p);
        if (power_mod(candidate, N, p) == p - 1) root = candidate;
    }
    u64 square = multiply_mod(root, root, p), least = root;
    for (u32 i = 0; i < N; i++, root = multiply_mod(root, square, p))
        if (root < least) least = root;
    return least;
}

static u32 reversed(u32 i) {
    u32 out = 0;
    for (u32 bit = 0; bit < LOG_N; bit++) out |= (i >> bit & 1) << (LOG_N - 1 - bit);
    return out;
}

/* Table of one direction: powers[i], i < N, by node; then the lanes' own. */
static void fill_tables(const operations *set, u64 root, u64 p, twiddle *nodes, u64 *lane_table, u64 *powers) {
    u32 lanes = set->lanes;
    u64 power = 1;
    for (u32 i = 0; i < N; i++, power = multiply_mod(power, root, p)) powers[reversed(i)] = power;
    for (u32 i = 0; i < N / lanes; i++) nodes[i] = set->make(powers[i], p);
    for (u32 s = 0; s < N / (lanes * lanes); s++) {
        for (u32 width = 1; width < lanes; width *= 2) {
            for (u32 g = 0; g < width; g++, lane_table += 2 * lanes) {
                for (u32 lane = 0; lane < lanes; lane++) {
                    twiddle w = set->make(powers[width * (N / lanes + s * lanes + lane) + g], p);
                    lane_table[lane] = w.value;
                    lane_table[lanes + lane] = w.quotient;
                }
            }
        }
    }
}

static u64 lane_table_words(u32 lanes) { return (u64)N / (lanes * lanes) * (lanes - 1) * 2 * lanes; }

static u64 twist_words(u32 level) { return 4ull * SPACING(level) * SPACING(level); }

/* shifts and twists, after the other tables: a shift is a transform. */
static void fill_pairs(const operations *set, modulus *m, u64 root, u64 *at) {
    u32 lanes = set->lanes;
    for (u32 level = 0; level < LEVELS; level++, at += N) {
        u32 period = 2 * SPACING(level);
        m->twists[level] = at;
        for (u32 i = 0; i < period * period / 2; i++) {
            u64 odd = 2 * (i / period) + 1, power = power_mod(root, odd * (i % period + 1) * (2 * N / period), m->p);
            twiddle w = set->make(power, m->p);
            u64 *pair = at + (u64)(i / lanes) * 2 * lanes + i % lanes;
            pair[0] = w.value;
            pair[lanes] = w.quotient;
        }
        at += twist_words(level);
        m->shifts[level] = at;
        memset(at, 0, 8 * N);
        at[N - SPACING(level)] = m->p - 1; /* X^-s = -X^(N - s) */
        set->forward(m, at);
    }
}

static int make_tables(const operations *set, modulus *m, u64 root) {
    u64 *powers = malloc(8 * N);
    u64 node_words = 2 * N / set->lanes, lane_words = lane_table_words(set->lanes);
    u64 pair_words = 0;
    for (u32 level = 0; level < LEVELS; level++) pair_words += twist_words(level) + N;
    u64 *all = malloc(8 * (2 * (node_words + lane_words) + pair_words));
    if (powers && all) {
        m->forward = (twiddle *)all;
        m->inverse = (twiddle *)(all + node_words);
        m->forward_lanes = all + 2 * node_words;
        m->inverse_lanes = m->forward_lanes + lane_words;
        fill_tables(set, root, m->p, m->forward, m->forward_lanes, powers);
        fill_tables(set, inverse_mod(root, m->p), m->p, m->inverse, m->inverse_lanes, powers);
        fill_pairs(set, m, root, m->inverse_lanes + lane_words);
    } else {
        free(all);
    }
    free(powers);
    return m->forward ? KERNEL_OK : KERNEL_NO_MEMORY;
}

/* ---- constants */

static void fill_constants(const kernel_context *c, modulus *m, u64 root) {
    const operations *set = c->set;
    u64 p = m->p, hat = 1, w = c->scale_bits;
    m->bits = MIN_PRIME_BITS;
    while (p >> m->bits) m->bits++;
    m->wide = m->bits > NARROW_BITS;
    m->chunk = m->wide ? 2 : MAX_CHUNK;
    m->word = power_mod(2, 64, p);
    m->word_shoup = shoup_of(m->word, p);
    m->one_shoup = shoup_of(1, p);
    m->one_52 = (1ull << 52) / p;
    u64 inverse_t = inverse_mod(power_mod(2, KERNEL_RING_BITS, p), p);
    m->message_low = set->make(inverse_t, p);
    m->message_high = set->make(multiply_mod(inverse_t, 1ull << 32, p), p);
    m->message_shift = minus(multiply_mod(power_mod(2, KERNEL_RING_BITS - 1, p), inverse_t, p), p);
    m->flood_offset = minus(multiply_mod(3, power_mod(2, c->flood_bits - 1, p), p), p);
    m->minus_half_w = minus(power_mod(2, w - 1, p), p);
    m->two_52 = set->make(power_mod(2, 52, p), p);
    m->two_104 = set->make(power_mod(2, 104, p), p);
    m->two_32 = set->make(1ull << 32, p);
    m->minus_two_63 = minus(power_mod(2, 63, p), p);
    m->last = set->make(inverse_mod(N, p), p);
    for (u32 i = 0; i < 4; i++) m->quarters[i] = set->make(power_mod(root, (u64)N / 2 * i, p), p);
    for (u32 l = 0; l < c->count; l++)
        if (c->moduli[l].p != p) hat = multiply_mod(hat, c->moduli[l].p % p, p);
    m->hat_word = inverse_mod(hat, p);
    m->hat_shoup = shoup_of(m->hat_word, p);
    m->hat = set->make(m->hat_word, p);
    /* 2^(w + 52) / p to the nearest, by two steps of long division */
    u128 top = (u128)1 << w, rest = (top % p) << 52;
    u64 low = (u64)((rest + p / 2) / p);
    m->scale_high = (u64)(top / p) + (low >> 52);
    m->scale_low = low & ((1ull << 52) - 1);
}

/* Mixed-radix digits of what c1 s is modulo several primes, whose product is more than four times as large. */
static void fill_garner(kernel_context *c) {
    u32 bits = 0, count = 0;
    while (count < c->count && count < RESULT_PRIMES && bits < c->scale_bits + LOG_N + 1) bits += c->moduli[count++].bits - 1;
    c->result_primes = bits < c->scale_bits + LOG_N + 1 ? 0 : count;
    for (u32 i = 1; i < count; i++) {
        u64 p = c->moduli[i].p, product = 1;
        for (u32 j = 0; j < i; j++) product = multiply_mod(product, c->moduli[j].p % p, p);
        c->garner[i] = inverse_mod(product, p);
        c->garner_shoup[i] = shoup_of(c->garner[i], p);
    }
}

static int fill(kernel_context *c, const u64 *primes) {
    c->q_mod_t = 1;
    for (u32 l = 0; l < c->count; l++) {
        for (u32 i = 0; i < l; i++)
            if (primes[i] == primes[l]) return KERNEL_BAD_ARGUMENT;
        if (!is_generated(primes[l])) return KERNEL_BAD_ARGUMENT;
        c->moduli[l].p = primes[l];
        c->q_mod_t *= primes[l];
    }
    c->q_mod_t &= (1ull << KERNEL_RING_BITS) - 1;
    for (u32 l = 0; l < c->count; l++) {
        u64 root = least_root(primes[l]);
        if (!root) return KERNEL_BAD_ARGUMENT;
        fill_constants(c, &c->moduli[l], root);
        int status = make_tables(c->set, &c->moduli[l], root);
        if (status) return status;
    }
    fill_garner(c);
    return KERNEL_OK;
}

int kernel_new(const u64 *primes, u32 count, u32 scale_bits, u32 drop_bits, u32 flood_bits, const char *instruction_set,
               kernel_context **out) {
    if (!primes || !out || !instruction_set || count < 1 || count > KERNEL_MAX_PRIMES || scale_bits < KERNEL_MIN_SCALE_BITS ||
        scale_bits > KERNEL_MAX_SCALE_BITS || drop_bits > KERNEL_MAX_DROP_BITS || flood_bits < KERNEL_MIN_FLOOD_BITS ||
        flood_bits > KERNEL_MAX_FLOOD_BITS)
        return KERNEL_BAD_ARGUMENT;
    const operations *set = find_set(instruction_set);
    if (!set) return KERNEL_UNSUPPORTED;
    kernel_context *c = calloc(1, sizeof *c);
    modulus *moduli = calloc(count, sizeof *moduli);
    if (!c || !moduli) {
        free(c);
        free(moduli);
        return KERNEL_NO_MEMORY;
    }
    c->count = count;
    c->scale_bits = scale_bits;
    c->drop_bits = drop_bits;
    c->flood_bits = flood_bits;
    c->set = set;
    c->moduli = moduli;
    int status = fill(c, primes);
    if (status) kernel_free(c);
    else *out = c;
    return status;
}

void kernel_free(kernel_context *context) {
    if (!context) return;
    for (u32 l = 0; l < context->count; l++) free(context->moduli[l].forward);
    free(context->moduli);
    free(context);
}
