/* The key owner's half: keys, fresh encryptions of zero, decryption. */
#include <stdlib.h>

#include "internal.h"

int kernel_secret_new(const kernel_context *context, const int8_t *ternary, kernel_secret **out) {
    kernel_secret *secret = malloc(sizeof *secret);
    u64 words = (u64)context->count * N;
    u64 *key = malloc(8 * words);
    if (!secret || !key) {
        free(secret);
        free(key);
        return KERNEL_NO_MEMORY;
    }
    u32 odd = 0; /* -1, 0 and 1 are 0, 1 and 2 once one is added */
    for (u32 i = 0; i < N; i++) odd |= (u32)(2 - (ternary[i] + 1)) | (u32)(ternary[i] + 1);
    *secret = (kernel_secret){words, key};
    if (odd >> 2) {
        kernel_secret_free(secret);
        return KERNEL_BAD_ARGUMENT;
    }
    for (u32 l = 0; l < context->count; l++) {
        const modulus *m = &context->moduli[l];
        for (u32 i = 0; i < N; i++) key[(u64)l * N + i] = small_mod(ternary[i], m->p);
        context->set->forward(m, key + (u64)l * N);
    }
    *out = secret;
    return KERNEL_OK;
}

void kernel_secret_free(kernel_secret *secret) {
    if (!secret) return;
    wipe(secret->key, 8 * secret->words);
    free(secret->key);
    free(secret);
}

int kernel_zero(const kernel_context *context, const kernel_secret *secret, const u8 *stream, u64 bytes, const int8_t *error,
                u64 *c0) {
    if (secret->words != (u64)context->count * N) return KERNEL_BAD_ARGUMENT;
    int status = kernel_uniform(context, stream, bytes, c0);
    if (status) return status;
    for (u32 l = 0; l < context->count; l++) {
        const modulus *m = &context->moduli[l];
        u64 *row = c0 + (u64)l * N;
        context->set->from_transform(m, row);
        context->set->multiply(m, row, secret->key + (u64)l * N, row, N);
        context->set->inverse(m, row);
        for (u32 i = 0; i < N; i++) row[i] = once(m->p - once(row[i] + small_mod(error[i], m->p), m->p), m->p);
    }
    return KERNEL_OK;
}

int kernel_add_message(const kernel_context *context, const u64 *message, u32 count, u64 *c0) {
    if (count > N) return KERNEL_BAD_ARGUMENT;
    for (u32 first = 0; first < count; first += NUMBERS) {
        u32 n = count - first < NUMBERS ? count - first : NUMBERS; /* N is a multiple of NUMBERS: so much there is of c0 */
        u64 numbers[5 * NUMBERS] = {0}, row[NUMBERS];
        for (u32 i = 0; i < n; i++) put_message(message[first + i], context, numbers + i);
        for (u32 l = 0; l < context->count; l++) {
            u64 *at = c0 + (u64)l * N + first;
            memcpy(row, at, sizeof row);
            context->set->add_numbers(&context->moduli[l], numbers, 0, n, row);
            memcpy(at, row, 8 * n);
        }
    }
    return KERNEL_OK;
}

/* c1 s as an integer modulo 2^128, from its residues: it is centred, so its top digit tells its sign. */
static u128 joined(const kernel_context *c, const u64 *rows, u32 at) {
    const modulus *moduli = c->moduli;
    u128 value = rows[at], product = moduli[0].p;
    u64 negative = 0;
    for (u32 i = 1; i < c->result_primes; i++) {
        u64 p = moduli[i].p, before;
        /* the value so far, modulo p: from its two words */
        before = once(times((u64)(value >> 64), moduli[i].word, moduli[i].word_shoup, p), p);
        before = once(before + any_mod((u64)value, &moduli[i]), p);
        u64 digit = once(times(rows[(u64)i * N + at] + p - before, c->garner[i], c->garner_shoup[i], p), p);
        value += product * digit;
        product *= p;
        negative = (p / 2 - digit) >> 63;
    }
    return value - (product & (0 - (u128)negative));
}

/* The results of one sum, from c0 at them and c1 s, into their window of out. */
static void decode(const kernel_context *c, const kernel_layout *y, const window *at, const u64 *low, const u64 *high,
                   const u64 *rows, i64 moved, u64 *out) {
    u32 span = y->k_tile * y->n_tile, tail = c->scale_bits - KERNEL_RING_BITS;
    for (u32 i = 0, taken = 0; i < at->rows; i++) {
        u64 *results = out + (u64)(at->row + i) * y->n + at->column;
        for (u32 j = 0; j < at->columns; j++, taken++) {
            u128 c0 = ((u128)high[taken] << 52 | low[taken]) << c->drop_bits;
            u128 phase = c0 + joined(c, rows, (u32)((i64)(i * span + j * y->k_tile + y->k_tile - 1) + moved));
            results[j] = (u64)((phase + ((u128)1 << (tail - 1))) >> tail) & ((1ull << KERNEL_RING_BITS) - 1);
        }
    }
}

int kernel_decrypt(const kernel_context *context, const kernel_secret *secret, const kernel_layout *layout, u32 part,
                   const u8 *body, u64 body_bytes, u64 *out, u64 *workspace, u64 workspace_words) {
    u32 sums = sums_of(layout, part);
    if (!sums || secret->words != (u64)context->count * N || !context->result_primes ||
        workspace_words < kernel_workspace_words(context))
        return KERNEL_BAD_ARGUMENT;
    if (body_bytes != kernel_reply_bytes(context, layout, part)) return KERNEL_BAD_LENGTH;
    u32 width = context->scale_bits, kept = width - context->drop_bits, count = results_of(layout, part);
    u64 *low = workspace, *high = low + N, *rows = high + N, any = 0;
    unpack_wide(body + packed_bytes(count, kept), N, width, low, high); /* N width fills bytes: no padding */
    for (u32 i = 0; i < N; i++) any |= low[i] | high[i];
    if (!any) return KERNEL_TRANSPARENT;
    for (u32 l = 0; l < context->result_primes; l++) {
        const modulus *m = &context->moduli[l];
        u64 *row = rows + (u64)l * N;
        context->set->lift(context, m, low, high, row);
        context->set->forward(m, row);
        context->set->multiply(m, row, secret->key + (u64)l * N, row, N);
        context->set->inverse(m, row);
    }
    if (unpack_wide(body, count, kept, low, high)) return KERNEL_BAD_PADDING;
    for (u32 j = 0, taken = 0, first = part * layout->packed; j < sums; j++) {
        window at;
        window_of(layout, (first + j) / n_tiles(layout), (first + j) % n_tiles(layout), &at);
        decode(context, layout, &at, low + taken, high + taken, rows, moved_by(sums, j), out);
        taken += at.rows * at.columns;
    }
    return KERNEL_OK;
}
