/* Numbers on their way in and out: messages, flooding, small errors, what comes from uniform bytes. */
#include "internal.h"

/* kernel.h's formula in words: y times 52 low bits of floor(2^(W + 52) / p) and times its high bits, added apart. */
void scale_words(const kernel_context *c, const u64 *residues, u64 stride, u64 *low, u64 *high, u32 count) {
    u64 top = (1ull << (c->scale_bits - 52)) - 1;
    for (u32 j = 0; j < count; j++) {
        u128 fraction = 1ull << 51, sum = 0;
        for (u32 l = 0; l < c->count; l++) {
            const modulus *m = &c->moduli[l];
            u64 y = once(times(residues[l * stride + j], m->hat_word, m->hat_shoup, m->p), m->p);
            fraction += (u128)y * m->scale_low;
            sum += (u128)y * m->scale_high;
        }
        sum += fraction >> 52;
        low[j] = (u64)sum & ((1ull << 52) - 1);
        high[j] = (u64)(sum >> 52) & top;
    }
}

/* round(q m / t) mod p is -r / t, with r the centred remainder of q m mod t: protocols/he/residues.py. First t/2 - r, as its
 * upper bits and 32 low ones: */
void put_message(u64 message, const kernel_context *c, u64 *numbers) {
    u32 room = 64 - KERNEL_RING_BITS;
    i64 remainder = (i64)((message * c->q_mod_t) << room) >> room;
    u64 shifted = (1ull << (KERNEL_RING_BITS - 1)) - (u64)remainder;
    numbers[0] = shifted >> 32;
    numbers[NUMBERS] = shifted & 0xffffffff;
}

/* The sum of three integers, whose high and low words are `stride` apart: high 62 bits, then the low ones. As 52 bits thrice. */
void put_flooding(const u64 *words, u64 stride, const kernel_context *c, u64 *numbers) {
    u32 low_bits = c->flood_bits - 62, room = 64 - low_bits;
    u64 high = (words[0] >> 2) + (words[stride] >> 2) + (words[2 * stride] >> 2), mask = (1ull << 52) - 1;
    const u64 *lower = words + 3 * stride;
    u64 low = (lower[0] >> room) + (lower[stride] >> room) + (lower[2 * stride] >> room);
    u128 sum = ((u128)high << low_bits) + low; /* below 2^126 */
    numbers[2 * NUMBERS] = (u64)sum & mask;
    numbers[3 * NUMBERS] = (u64)(sum >> 52) & mask;
    numbers[4 * NUMBERS] = (u64)(sum >> 104);
}

int kernel_ternary(const u8 *words, u64 bytes, int8_t *out) {
    if (bytes != 8 * N) return KERNEL_BAD_ARGUMENT;
    for (u32 i = 0; i < N; i++) {
        u64 word = load_word(words + 8 * (u64)i), rest = word - 3 * (u64)((u128)word * 0xaaaaaaaaaaaaaaabull >> 65); /* mod 3 */
        out[i] = (int8_t)((i64)rest - 3 * (i64)(rest >> 1));
    }
    return KERNEL_OK;
}

int kernel_error(const u8 *words, u64 bytes, int8_t *out) {
    if (bytes != 8 * N) return KERNEL_BAD_ARGUMENT;
    for (u32 i = 0; i < N; i++) { /* ones of both halves at once */
        u64 x = load_word(words + 8 * (u64)i) & 0x001fffff001fffffull;
        x -= x >> 1 & 0x5555555555555555ull;
        x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
        x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
        x += x >> 8;
        x += x >> 16;
        out[i] = (int8_t)((i64)(x & 63) - (i64)(x >> 32 & 63));
    }
    return KERNEL_OK;
}

uint64_t kernel_stream_bytes(const kernel_context *context) {
    u64 sum = 0;
    for (u32 l = 0; l < context->count; l++) {
        const modulus *m = &context->moduli[l];
        u64 skipped = (u64)((((u128)1 << m->bits) - m->p) * 2 * N >> m->bits); /* twice the mean for p near a half */
        sum += (N + 2 * skipped + 64) * ((m->bits + 7) / 8);
    }
    return sum;
}

#define RUN 8
/* RUN draws of at most 8 bytes each, all below p: else 0, and out is not to be used. */
static int draw_run(const u8 *stream, u64 size, u64 mask, u64 p, u64 *out) {
    u64 above = 0;
    UNROLL for (u32 i = 0; i < RUN; i++) {
        out[i] = load_word(stream + i * size) & mask;
        above |= p - 1 - out[i];
    }
    return !(above >> 63);
}

/* What is drawn here is public, so its branches may depend on it. */
int kernel_uniform(const kernel_context *context, const u8 *stream, u64 bytes, u64 *out) {
    u64 at = 0;
    for (u32 l = 0; l < context->count; l++, out += N) {
        const modulus *m = &context->moduli[l];
        u64 size = (m->bits + 7) / 8, mask = (1ull << m->bits) - 1;
        for (u32 taken = 0; taken < N; at += size) {
            u64 word = 0;
            while (taken + RUN <= N && at + RUN * 8 <= bytes && draw_run(stream + at, size, mask, m->p, out + taken)) {
                taken += RUN;
                at += RUN * size;
            }
            if (taken == N) break;
            if (at + 8 <= bytes) word = load_word(stream + at);
            else if (at + size <= bytes) memcpy(&word, stream + at, size);
            else return KERNEL_SHORT_STREAM;
            out[taken] = word & mask;
            taken += out[taken] < m->p;
        }
    }
    return KERNEL_OK;
}

int kernel_forward(const kernel_context *context, u32 prime, u64 *values) {
    if (prime >= context->count) return KERNEL_BAD_ARGUMENT;
    context->set->forward(&context->moduli[prime], values);
    context->set->to_transform(&context->moduli[prime], values);
    return KERNEL_OK;
}

int kernel_inverse(const kernel_context *context, u32 prime, u64 *values) {
    if (prime >= context->count) return KERNEL_BAD_ARGUMENT;
    context->set->from_transform(&context->moduli[prime], values);
    context->set->inverse(&context->moduli[prime], values);
    return KERNEL_OK;
}
