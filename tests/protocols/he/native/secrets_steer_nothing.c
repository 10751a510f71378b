/* What was compiled, with its secrets marked as undefined: memcheck names every branch and every address that depends on
 * one (the method of Langley's ctgrind). `make constant-time` runs it, for the sets that memcheck knows: no AVX-512.
 *
 * Secret: the key, errors, u of masks, flooding, messages, factors, addends, results, and what is mapped to the curve. Declared
 * public once it is made: what is sent, and whether a key has the form of one. "check" as argument marks a public input too, which must be reported. */
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/memcheck.h>

#include "../../../../protocols/he/native/internal.h"

#define PRIMES 3

static const u64 MODULI[PRIMES + 1] = {281474976694273, 281474976546817, 281474976317441, 281474975662081};
static const kernel_layout LAYOUTS[] = {
    {40, 20, 20, 10, 20, 40, 1}, /* whole transforms */
    {20, 20, 70, 16, 32, 16, 1}, /* pruned ones */
    {70, 20, 34, 16, 32, 16, 4},  /* packed replies */
    {70, 20, 34, 16, 32, 16, 16}, /* of pairs, some without a partner */
};

static u64 state = 1;
static void *drawn(u64 bytes) { /* SplitMix64 */
    u64 *at = malloc(bytes + 8);
    if (!at) exit(2);
    for (u64 i = 0; i <= bytes / 8; i++) {
        u64 z = state += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        at[i] = z ^ z >> 31;
    }
    return at;
}
static void *secret(u64 bytes) {
    void *at = drawn(bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(at, bytes);
    return at;
}
static void publish(void *at, u64 bytes) { VALGRIND_MAKE_MEM_DEFINED(at, bytes); }
static void must(int status, const char *what) {
    if (status) {
        fprintf(stderr, "%s: status %d\n", what, status);
        exit(1);
    }
}

/* An encryption of zero, or of a message, loaded as one part. */
static void make_part(const kernel_context *c, const kernel_secret *key, const u64 *message, u64 *operand, u32 parts, u32 part,
                      u64 *workspace) {
    u64 room = kernel_workspace_words(c), stream_bytes = kernel_stream_bytes(c), packed_bytes = kernel_packed_bytes(c);
    u8 *stream = drawn(stream_bytes), *packed = drawn(packed_bytes), *words = secret(8 * N);
    int8_t *error = secret(N);
    u64 *c0 = drawn(8ull * c->count * N);
    must(kernel_error(words, 8 * N, error), "kernel_error");
    must(kernel_zero(c, key, stream, stream_bytes, error, c0), "kernel_zero");
    if (message) must(kernel_add_message(c, message, N, c0), "kernel_add_message");
    must(kernel_pack(c, c0, packed, packed_bytes), "kernel_pack");
    publish(packed, packed_bytes);
    must(kernel_load(c, packed, packed_bytes, stream, stream_bytes, operand, parts, part, workspace, room), "kernel_load");
    void *all[] = {stream, packed, words, error, c0};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static kernel_secret *make_key(const kernel_context *c, int8_t *ternary) {
    kernel_secret *key;
    publish(ternary, N); /* that it is one may be seen */
    must(kernel_secret_new(c, ternary, &key), "kernel_secret_new");
    VALGRIND_MAKE_MEM_UNDEFINED(ternary, N);
    VALGRIND_MAKE_MEM_UNDEFINED(key->key, 8 * key->words);
    return key;
}

/* raised: operands are modulo all primes. */
static void run(const char *set, const kernel_layout *y, u32 raised) {
    kernel_context *c, *switching;
    must(kernel_new(MODULI, PRIMES, 76, 11, 83, set, &c), "kernel_new");
    must(kernel_new(MODULI, PRIMES + 1, 76, 11, 83, set, &switching), "kernel_new");
    u32 parts = k_tiles(y) * n_tiles(y), sums = groups(y) * n_tiles(y), replies = ceil_div(sums, y->packed);
    u32 switched = y->packed > 1 ? 6 * PRIMES : 0; /* of all automorphisms */
    const kernel_context *maker = raised ? switching : c; /* of operands */
    u64 room = kernel_workspace_words(switching), more = kernel_products_workspace_words(maker, y, 0, groups(y));
    u64 packed_room = kernel_packed_workspace_words(c, y, raised, 1), *workspace = drawn(8 * (room + more + packed_room));
    u8 *words = secret(8 * N);
    int8_t *ternary = secret(N), *error = secret(N);
    must(kernel_ternary(words, 8 * N, ternary), "kernel_ternary");
    must(kernel_error(words, 8 * N, error), "kernel_error");
    kernel_secret *key = make_key(c, ternary), *longer = make_key(switching, ternary);
    const kernel_secret *of_operands = raised ? longer : key;
    u64 *public_key = drawn(8 * kernel_operand_words(maker, 1)), *operand = drawn(8 * kernel_operand_words(maker, parts));
    u64 *keys = drawn(8 * kernel_operand_words(switching, switched + 1)), *message = secret(8 * N);
    make_part(maker, of_operands, NULL, public_key, 1, 0, workspace);
    for (u32 i = 0; i < parts; i++) make_part(maker, of_operands, message, operand, parts, i, workspace);
    for (u32 i = 0; i < switched; i++) make_part(switching, longer, message, keys, switched, i, workspace);
    u64 **masks = malloc(replies * sizeof *masks), **summed = malloc(sums * sizeof *summed);
    for (u32 i = 0; i < replies; i++) {
        masks[i] = drawn(8 * kernel_mask_words(c));
        must(kernel_mask(c, ternary, public_key, masks[i], workspace, room), "kernel_mask");
    }
    for (u32 i = 0; i < sums; i++) summed[i] = y->packed > 1 ? drawn(8 * kernel_mask_words(maker)) : masks[i];
    i64 *factor = secret(8ull * y->m * y->k);
    u64 *addend = secret(8ull * y->m * y->n), *results = drawn(8ull * y->m * y->n);
    must(kernel_products(maker, y, 0, groups(y), factor, operand, summed, NULL, workspace, more), "kernel_products");
    for (u32 i = 0; i < replies; i++) {
        u64 bytes = kernel_reply_bytes(c, y, i), noise = 6ull * results_of(y, i), *flooding = secret(8 * noise);
        u8 *body = drawn(bytes);
        must(y->packed > 1 ? kernel_packed_reply(c, switching, raised, keys, switched, y, i, summed + i * y->packed, masks[i], error,
                                                 flooding, noise, addend, body, bytes, NULL, workspace, packed_room)
                           : kernel_reply(c, y, i, masks[i], error, flooding, noise, addend, body, bytes, workspace, room),
             "kernel_reply");
        publish(body, bytes);
        must(kernel_decrypt(c, key, y, i, body, bytes, results, workspace, room), "kernel_decrypt");
        free(flooding);
        free(body);
        free(masks[i]);
    }
    for (u32 i = 0; y->packed > 1 && i < sums; i++) free(summed[i]);
    kernel_secret_free(key);
    kernel_secret_free(longer);
    kernel_free(c);
    kernel_free(switching);
    void *all[] = {workspace, words, ternary, error, public_key, operand, keys, message, masks, summed, factor, addend, results};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* That memcheck sees what it should: a peer's residues steer whether they are refused. */
static void run_visibly(void) {
    kernel_context *c;
    must(kernel_new(MODULI, PRIMES, 76, 11, 83, "scalar", &c), "kernel_new");
    u64 bytes = kernel_packed_bytes(c), *residues = drawn(8 * PRIMES * N);
    u8 *packed = secret(bytes);
    kernel_unpack(c, packed, bytes, residues);
    free(packed);
    free(residues);
    kernel_free(c);
}

/* The map to the curve, of what a peer may guess at. */
static void run_map(void) {
    u8 *uniform = secret(48), point[32];
    kernel_map_to_curve(uniform, point);
    free(uniform);
}

int main(int count, char **arguments) {
    if (count > 1 && !strcmp(arguments[1], "check")) run_visibly();
    run_map();
    for (int i = 1; i < count; i++) {
        for (unsigned j = 0; strcmp(arguments[i], "check") && j < sizeof LAYOUTS / sizeof *LAYOUTS; j++) {
            run(arguments[i], &LAYOUTS[j], 0);
            if (LAYOUTS[j].packed > 1) run(arguments[i], &LAYOUTS[j], 1);
        }
    }
    return 0;
}
