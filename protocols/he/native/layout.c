/* Where things are, and how much room they take. */
#include "internal.h"

#define MAX_SIDE (1u << 16)

int layout_is_valid(const kernel_layout *y) {
    int packs = y && (y->packed == 1 || (y->packed >= JOINED && y->packed <= MAX_PACKED && !(y->packed & (y->packed - 1))));
    return packs && y->m >= 1 && y->m <= MAX_SIDE && y->k >= 1 && y->k <= MAX_SIDE && y->n >= 1 && y->n <= MAX_SIDE &&
           y->k_tile >= 1 && y->k_tile % y->packed == 0 && y->k_tile <= y->k + y->packed - 1 && y->n_tile >= 1 && y->n_tile <= y->n && y->rows >= 1 && y->rows <= y->m &&
           (u64)y->k_tile * y->n_tile <= N && (u64)y->rows * y->k_tile * y->n_tile <= N;
}

int window_of(const kernel_layout *y, u32 group, u32 tile, window *out) {
    if (!layout_is_valid(y) || group >= groups(y) || tile >= n_tiles(y)) return 0;
    out->row = group * y->rows;
    out->column = tile * y->n_tile;
    out->rows = y->m - out->row < y->rows ? y->m - out->row : y->rows;
    out->columns = y->n - out->column < y->n_tile ? y->n - out->column : y->n_tile;
    return 1;
}

uint64_t kernel_operand_words(const kernel_context *context, u32 parts) { return 2ull * parts * context->count * N; }
uint64_t kernel_mask_words(const kernel_context *context) { return 2ull * context->count * N; }
uint64_t kernel_workspace_words(const kernel_context *context) { return (context->count + 5ull) * N; }

uint64_t kernel_products_workspace_words(const kernel_context *context, const kernel_layout *layout, u32 first_group,
                                         u32 end_group) {
    (void)context;
    if (!layout_is_valid(layout) || first_group >= end_group || end_group > groups(layout)) return 0;
    u64 length = (u64)k_tiles(layout) * tile_words(layout);
    u64 pruned = (u64)(end_group - first_group) * layout->rows * length, whole = (u64)k_tiles(layout) * N;
    return MAX_CHUNK * BLOCK + length + (is_pruned(layout) ? pruned : whole);
}

u32 sums_of(const kernel_layout *y, u32 part) {
    if (!layout_is_valid(y)) return 0;
    u64 first = (u64)part * y->packed, all = (u64)groups(y) * n_tiles(y);
    return first >= all ? 0 : all - first < y->packed ? (u32)(all - first) : y->packed;
}

u32 results_of(const kernel_layout *y, u32 part) {
    u32 results = 0, first = part * y->packed;
    for (u32 j = 0, count = sums_of(y, part); j < count; j++) {
        window at;
        if (window_of(y, (first + j) / n_tiles(y), (first + j) % n_tiles(y), &at)) results += at.rows * at.columns;
    }
    return results;
}

uint64_t kernel_reply_bytes(const kernel_context *context, const kernel_layout *layout, u32 part) {
    if (!sums_of(layout, part)) return 0;
    u64 results = results_of(layout, part);
    return packed_bytes(results, context->scale_bits - context->drop_bits) + packed_bytes(N, context->scale_bits);
}
