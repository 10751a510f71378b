/* The evaluator's half: operands, masks, products and replies. */
#include "internal.h"

/* One half of one part modulo one prime, into its place among the blocks. */
static void place_part(const u64 *row, u64 *operand, u32 prime, u32 parts, u32 part, u32 half) {
    for (u32 b = 0; b < BLOCKS; b++)
        memcpy(operand + ((((u64)prime * BLOCKS + b) * parts + part) * 2 + half) * BLOCK, row + BLOCK * b, 8 * BLOCK);
}

int kernel_load(const kernel_context *context, const u8 *packed, u64 packed_length, const u8 *stream, u64 stream_bytes,
                u64 *operand, u32 parts, u32 part, u64 *workspace, u64 workspace_words) {
    if (part >= parts || workspace_words < kernel_workspace_words(context)) return KERNEL_BAD_ARGUMENT;
    if (packed_length != kernel_packed_bytes(context)) return KERNEL_BAD_LENGTH;
    int status = kernel_uniform(context, stream, stream_bytes, workspace);
    if (status) return status;
    u64 *row = workspace + (u64)context->count * N;
    for (u32 l = 0; l < context->count; l++) {
        const modulus *m = &context->moduli[l];
        status = unpack_prime(m, packed, row);
        if (status) return status;
        packed += packed_bytes(N, m->bits);
        context->set->forward(m, row);
        place_part(row, operand, l, parts, part, 0);
        context->set->from_transform(m, workspace + (u64)l * N);
        place_part(workspace + (u64)l * N, operand, l, parts, part, 1);
    }
    return KERNEL_OK;
}

int kernel_mask(const kernel_context *context, const int8_t *ternary, const u64 *key, u64 *mask, u64 *workspace,
                u64 workspace_words) {
    if (workspace_words < kernel_workspace_words(context)) return KERNEL_BAD_ARGUMENT;
    for (u32 l = 0; l < context->count; l++) {
        const modulus *m = &context->moduli[l];
        for (u32 i = 0; i < N; i++) workspace[i] = small_mod(ternary[i], m->p);
        context->set->forward(m, workspace);
        for (u32 b = 0; b < BLOCKS; b++) {
            for (u32 half = 0; half < 2; half++) {
                const u64 *part = key + (((u64)l * BLOCKS + b) * 2 + half) * BLOCK;
                u64 *out = mask + ((u64)half * context->count + l) * N + BLOCK * b;
                context->set->multiply(m, workspace + BLOCK * b, part, out, BLOCK);
            }
        }
    }
    return KERNEL_OK;
}

int kernel_products(const kernel_context *context, const kernel_layout *layout, u32 first_group, u32 end_group,
                    const int64_t *factor, const u64 *operand, u64 *const *masks, kernel_share *share, u64 *workspace,
                    u64 workspace_words) {
    u64 needed = kernel_products_workspace_words(context, layout, first_group, end_group);
    if (!needed || !share_is_valid(share) || workspace_words / needed < callers_in(share)) return KERNEL_BAD_ARGUMENT;
    u32 callers = callers_in(share), count = end_group - first_group;
    /* Where transforms are pruned, groups share the passage through the operand; else each goes through it on its own. */
    u32 pieces = callers == 1 ? 1 : !is_pruned(layout) || count < callers ? count : callers;
    workspace += needed * number_in(share);
    team all;
    join_team(&all, share);
    for (u32 item; take(&all, pieces * context->count, &item);) {
        u32 piece = item % pieces, from = (u32)((u64)count * piece / pieces), to = (u32)((u64)count * (piece + 1) / pieces);
        context->set->products(context, layout, item / pieces, first_group + from, first_group + to, factor, operand,
                               masks + (u64)from * n_tiles(layout), workspace);
    }
    return end_of_work(&all);
}

void add_error(const modulus *m, const int8_t *error, u64 *row) {
    for (u32 i = 0; i < N; i++) row[i] = once(row[i] + small_mod(error[i], m->p), m->p);
}

/* c0 at the results of one sum, with flooding and the addend. out: a row of N for each prime. */
void gather(const kernel_context *c, const kernel_layout *y, const window *at, const u64 *c0, i64 moved, const u64 *flooding,
            const u64 *addend, u64 *out) {
    u32 span = y->k_tile * y->n_tile, count = at->rows * at->columns;
    for (u32 first = 0, i = 0, j = 0; first < count; first += NUMBERS) {
        u32 n = count - first < NUMBERS ? count - first : NUMBERS, places[NUMBERS];
        u64 numbers[5 * NUMBERS] = {0}, row[NUMBERS] = {0};
        for (u32 e = 0; e < n; e++) {
            places[e] = (u32)((i64)(i * span + j * y->k_tile + y->k_tile - 1) + moved);
            put_message(addend[(u64)(at->row + i) * y->n + at->column + j], c, numbers + e);
            put_flooding(flooding + first + e, count, c, numbers + e);
            if (++j == at->columns) i++, j = 0;
        }
        for (u32 l = 0; l < c->count; l++) {
            for (u32 e = 0; e < n; e++) row[e] = c0[(u64)l * N + places[e]];
            c->set->add_numbers(&c->moduli[l], numbers, 1, n, row);
            memcpy(out + (u64)l * N + first, row, 8 * n);
        }
    }
}

/* Rounds `drop` low bits away, modulo 2^width. */
static void drop_low_bits(u64 *low, u64 *high, u32 count, u32 width, u32 drop) {
    u128 mask = ((u128)1 << (width - drop)) - 1;
    for (u32 i = 0; i < count; i++) {
        u128 value = ((u128)high[i] << 52 | low[i]) + ((1ull << drop) >> 1);
        value = value >> drop & mask;
        low[i] = (u64)value & ((1ull << 52) - 1);
        high[i] = (u64)(value >> 52);
    }
}

void write_values(const kernel_context *c, const u64 *residues, u32 count, u32 number, u32 drop, u8 *body, u64 *halves) {
    u32 first = WRITTEN * number, n = count - first < WRITTEN ? count - first : WRITTEN, width = c->scale_bits;
    u64 *low = halves + first, *high = low + N;
    c->set->scale(c, residues + first, N, low, high, n);
    if (drop) drop_low_bits(low, high, n, width, drop);
    pack_wide(low, high, n, width - drop, body + packed_bytes(first, width - drop));
}

int kernel_reply(const kernel_context *context, const kernel_layout *layout, u32 part, u64 *sum, const int8_t *error,
                 const u64 *flooding, u64 flooding_words, const u64 *addend, u8 *body, u64 body_bytes, u64 *workspace,
                 u64 workspace_words) {
    window at;
    if (!layout_is_valid(layout) || layout->packed != 1 || !window_of(layout, part / n_tiles(layout), part % n_tiles(layout), &at) ||
        workspace_words < kernel_workspace_words(context) || body_bytes != kernel_reply_bytes(context, layout, part) ||
        flooding_words != 6ull * at.rows * at.columns)
        return KERNEL_BAD_ARGUMENT;
    u32 primes = context->count, count = at.rows * at.columns;
    u64 *c1 = sum + (u64)primes * N, *results = workspace + 2 * N;
    for (u32 l = 0; l < primes; l++) {
        const modulus *m = &context->moduli[l];
        context->set->inverse(m, sum + (u64)l * N);
        context->set->inverse(m, c1 + (u64)l * N);
        add_error(m, error, c1 + (u64)l * N);
    }
    gather(context, layout, &at, sum, 0, flooding, addend, results);
    u8 *rest = body + packed_bytes(count, context->scale_bits - context->drop_bits);
    for (u32 i = 0; i < written_pieces(count); i++) write_values(context, results, count, i, context->drop_bits, body, workspace);
    for (u32 i = 0; i < written_pieces(N); i++) write_values(context, c1, N, i, 0, rest, workspace);
    return KERNEL_OK;
}
