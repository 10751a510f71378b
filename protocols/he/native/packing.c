/* Values packed to the bit, least significant first. Lengths were checked by the callers. */
#include "internal.h"

u64 packed_bytes(u64 count, u32 width) { return (count * width + 7) / 8; }

/* Widths up to 57, so that a value and up to 7 bits before it fit a word. */
static void pack_row(const u64 *values, u32 width, u8 *out) {
    const u8 *end = out + packed_bytes(N, width);
    u64 carry = 0;
    u32 have = 0;
    for (u32 i = 0; i < N; i++) { /* N width is a multiple of 8: nothing is left at the end */
        u64 word = carry | values[i] << have;
        u32 bits = have + width;
        if (end - out >= 8) memcpy(out, &word, 8); /* what is beyond its bits is written again */
        else memcpy(out, &word, bits >> 3);
        out += bits >> 3;
        carry = word >> (bits & ~7u);
        have = bits & 7;
    }
}

static void pack_row_48(const u64 *values, u8 *out) {
    for (u32 i = 0; i < N - 1; i++) memcpy(out + 6 * (u64)i, &values[i], 8);
    memcpy(out + 6 * (u64)(N - 1), &values[N - 1], 6);
}

static void unpack_row(const u8 *in, u32 width, u64 *values) {
    u64 mask = (1ull << width) - 1, end = packed_bytes(N, width);
    u32 i = 0, whole = (u32)((end - 8) * 8 / width) + 1; /* so many values have eight bytes from their first one on */
    for (; i < whole; i++) {
        u64 bit = (u64)i * width;
        values[i] = load_word(in + (bit >> 3)) >> (bit & 7) & mask;
    }
    for (; i < N; i++) {
        u64 bit = (u64)i * width;
        values[i] = load_word(in + end - 8) >> (bit - 8 * (end - 8)) & mask;
    }
}

uint64_t kernel_packed_bytes(const kernel_context *context) {
    u64 sum = 0;
    for (u32 l = 0; l < context->count; l++) sum += packed_bytes(N, context->moduli[l].bits);
    return sum;
}

int kernel_pack(const kernel_context *context, const u64 *residues, u8 *out, u64 bytes) {
    if (bytes != kernel_packed_bytes(context)) return KERNEL_BAD_ARGUMENT;
    for (u32 l = 0; l < context->count; l++) {
        u32 width = context->moduli[l].bits;
        if (width == 48) pack_row_48(residues + (u64)l * N, out);
        else pack_row(residues + (u64)l * N, width, out);
        out += packed_bytes(N, width);
    }
    return KERNEL_OK;
}

int unpack_prime(const modulus *m, const u8 *packed, u64 *row) {
    unpack_row(packed, m->bits, row);
    u64 any = 0, above = 0;
    for (u32 i = 0; i < N; i++) {
        any |= row[i];
        above |= m->p - 1 - row[i];
    }
    if (above >> 63) return KERNEL_BAD_RESIDUE;
    return any ? KERNEL_OK : KERNEL_TRANSPARENT;
}

int kernel_unpack(const kernel_context *context, const u8 *packed, u64 bytes, u64 *residues) {
    if (bytes != kernel_packed_bytes(context)) return KERNEL_BAD_LENGTH;
    for (u32 l = 0; l < context->count; l++) {
        const modulus *m = &context->moduli[l];
        int status = unpack_prime(m, packed, residues + (u64)l * N);
        if (status && status != KERNEL_TRANSPARENT) return status;
        packed += packed_bytes(N, m->bits);
    }
    return KERNEL_OK;
}

void pack_wide(const u64 *low, const u64 *high, u32 count, u32 width, u8 *out) {
    const u8 *end = out + packed_bytes(count, width);
    u128 carry = 0;
    u32 have = 0, i = 0;
    if (width > 64 && width % 4 == 0) { /* two values fill whole bytes */
        u32 over = width - 64;
        for (; i + 2 <= count && end - out >= 24; i += 2, out += width / 4) {
            u64 second = low[i + 1] | high[i + 1] << 52;
            store_word(out, low[i] | high[i] << 52);
            store_word(out + 8, high[i] >> 12 | second << over);
            store_word(out + 16, second >> (64 - over) | (high[i + 1] >> 12) << over);
        }
    }
    for (; i < count; i++) {
        u128 word = carry | ((u128)high[i] << 52 | low[i]) << have;
        u32 bits = have + width;
        if (end - out >= 16) memcpy(out, &word, 16);
        else memcpy(out, &word, bits >> 3);
        out += bits >> 3;
        carry = word >> (bits & ~7u);
        have = bits & 7;
    }
    if (have) *out = (u8)carry;
}

int unpack_wide(const u8 *in, u32 count, u32 width, u64 *low, u64 *high) {
    u64 end = packed_bytes(count, width), used = (u64)count * width & 7;
    u128 mask = ((u128)1 << width) - 1;
    u32 i = 0;
    if (width > 64 && width % 4 == 0) {
        u64 over = width - 64, low_mask = (1ull << 52) - 1, high_mask = (1ull << (width - 52)) - 1;
        for (u64 at = 0; i + 2 <= count && at + 24 <= end; i += 2, at += width / 4) {
            u64 first = load_word(in + at), second = load_word(in + at + 8), third = load_word(in + at + 16);
            low[i] = first & low_mask;
            high[i] = (first >> 52 | second << 12) & high_mask;
            second = second >> over | third << (64 - over);
            low[i + 1] = second & low_mask;
            high[i + 1] = (second >> 52 | (third >> over) << 12) & high_mask;
        }
    }
    for (; i < count; i++) {
        u64 bit = (u64)i * width, at = bit >> 3;
        u128 word = 0;
        if (at + 16 <= end) memcpy(&word, in + at, 16);
        else memcpy(&word, in + at, end - at);
        word = word >> (bit & 7) & mask;
        low[i] = (u64)word & ((1ull << 52) - 1);
        high[i] = (u64)(word >> 52);
    }
    return used && in[end - 1] >> used ? KERNEL_BAD_PADDING : KERNEL_OK;
}
