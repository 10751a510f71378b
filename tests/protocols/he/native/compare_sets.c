/* Every instruction set of this processor against portable C, without Python: for cross-compiled builds and emulators.
 *
 *   aarch64-linux-gnu-gcc -O3 -ffp-contract=off -static -o compare tests/protocols/he/native/compare_sets.c protocols/he/native/[a-z]*.c
 *   qemu-aarch64 ./compare
 *
 * Portable C makes each product in one thread, the others in CALLERS of them, so that a thread sanitizer has something to look at.
 * The map to the curve is compared with known points. Prints what was compared; ends with 1 at the first difference. "quick" as argument: each layout with one size of primes; "packed": of those
 * layouts the ones that are packed. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../../protocols/he/native/kernel.h"

#define N KERNEL_DEGREE
#define PRIMES 3
#define KEYS (6 * PRIMES) /* of all automorphisms */
#define CALLERS 3
#define MOST_REPLIES 64

static const uint64_t SIZES[][PRIMES + 1] = { /* the last one for key switching */
    {281474976694273, 281474976546817, 281474976317441, 281474975662081},     /* 48 bits */
    {140737488273409, 140737488125953, 140737488044033, 140737487306753},     /* 47 */
    {1125899906826241, 1125899906629633, 1125899905744897, 1125899905351681}, /* 50 */
};
static const kernel_layout LAYOUTS[] = {
    {5, 3, 7, 3, 7, 5, 1},    {9, 20, 20, 10, 20, 9, 1}, {70, 34, 70, 16, 32, 16, 1}, {3, 70, 65, 64, 64, 2, 1},
    {2, 65, 64, 1, 64, 2, 1}, {3, 9, 128, 2, 128, 3, 1}, {3, 9, 64, 4, 32, 3, 1},     {128, 9, 64, 8, 8, 128, 1},
    {5, 3, 7, 4, 3, 2, 4},    {9, 6, 7, 8, 3, 4, 4},     {70, 34, 70, 16, 32, 16, 4}, {7, 9, 5, 8, 2, 2, 8},
    {6, 5, 7, 16, 3, 3, 16},  {17, 3, 2, 32, 2, 1, 32}, {17, 1, 1, 16, 1, 1, 16}, {1, 1, 1, 4, 1, 1, 4},
};

static uint64_t state = 1;
static uint64_t draw(void) { /* SplitMix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}
static void *fresh(uint64_t bytes) { /* random bytes */
    uint64_t *at = malloc(bytes + 8);
    if (!at) exit(2);
    for (uint64_t i = 0; i <= bytes / 8; i++) at[i] = draw();
    return at;
}
static void must(int status, const char *what) {
    if (status) {
        fprintf(stderr, "%s: status %d\n", what, status);
        exit(1);
    }
}

/* A product's arguments, and one caller's share of it. */
typedef struct {
    const kernel_context *c, *switching, *maker; /* the last of operands */
    const kernel_layout *y;
    uint32_t raised, groups;
    const int64_t *factor;
    const uint64_t *operand, *keys, *addend;
    uint64_t **masks, **sums, *flooding[MOST_REPLIES], noise[MOST_REPLIES], *workspace, words;
    const int8_t *error;
    uint8_t *out;
} product;
typedef struct {
    const product *of;
    kernel_share share;
    int status;
} caller;

static void *make_part(void *argument) {
    caller *own = argument;
    const product *p = own->of;
    own->status = kernel_products(p->maker, p->y, 0, p->groups, p->factor, p->operand, p->sums, &own->share, p->workspace, p->words);
    uint8_t *body = p->out;
    for (uint32_t i = 0; !own->status; i++) {
        uint64_t bytes = kernel_reply_bytes(p->c, p->y, i);
        if (!bytes) break;
        if (p->keys)
            own->status = kernel_packed_reply(p->c, p->switching, p->raised, p->keys, KEYS, p->y, i, p->sums + i * p->y->packed,
                                              p->masks[i], p->error, p->flooding[i], p->noise[i], p->addend, body, bytes,
                                              &own->share, p->workspace, p->words);
        else if (!own->share.number)
            own->status = kernel_reply(p->c, p->y, i, p->masks[i], p->error, p->flooding[i], p->noise[i], p->addend, body, bytes,
                                       p->workspace, p->words);
        body += bytes;
    }
    return NULL;
}
/* With a workspace for as many callers. */
static void make(product *p, uint32_t callers) {
    uint64_t progress[KERNEL_PROGRESS_WORDS] = {0};
    uint64_t replies = kernel_packed_workspace_words(p->c, p->y, p->raised, callers), one = kernel_workspace_words(p->c);
    uint64_t products = callers * kernel_products_workspace_words(p->maker, p->y, 0, p->groups);
    p->words = replies > products ? replies : products;
    p->words = p->words > one ? p->words : one;
    p->workspace = fresh(8 * p->words);
    caller all[CALLERS];
    pthread_t threads[CALLERS];
    for (uint32_t i = 0; i < callers; i++) all[i] = (caller){p, {i, callers, 0, progress}, 0};
    for (uint32_t i = 1; i < callers; i++) must(pthread_create(&threads[i], NULL, make_part, &all[i]), "a thread");
    make_part(&all[0]);
    for (uint32_t i = 1; i < callers; i++) must(pthread_join(threads[i], NULL), "a thread");
    for (uint32_t i = 0; i < callers; i++)
        if (!i || all[i].status != KERNEL_LEFT) must(all[i].status, "a product");
    free(p->workspace);
}

/* Key-switching keys: any polynomials do. */
static uint64_t *switching_keys(const kernel_context *c, uint32_t parts) {
    uint64_t room = kernel_workspace_words(c), *workspace = fresh(8 * room), *keys = fresh(8 * kernel_operand_words(c, parts));
    uint64_t stream_bytes = kernel_stream_bytes(c), packed_bytes = kernel_packed_bytes(c);
    uint64_t *residues = fresh(8 * (PRIMES + 1) * N);
    uint8_t *packed = fresh(packed_bytes);
    for (uint32_t i = 0; i < parts; i++) {
        state = 900 + i;
        uint8_t *stream = fresh(stream_bytes);
        must(kernel_uniform(c, stream, stream_bytes, residues), "kernel_uniform");
        must(kernel_pack(c, residues, packed, packed_bytes), "kernel_pack");
        must(kernel_load(c, packed, packed_bytes, stream, stream_bytes, keys, parts, i, workspace, room), "kernel_load");
        free(stream);
    }
    free(workspace);
    free(residues);
    free(packed);
    return keys;
}

/* All bytes that one run makes, [replies of the layout | results]; from the same inputs for every set. raised: operands are
 * modulo all primes. */
static uint8_t *run(const char *set, const uint64_t *primes, const kernel_layout *y, uint32_t raised, uint32_t callers,
                    uint64_t *length) {
    kernel_context *c, *switching;
    kernel_secret *secret, *of_operands;
    must(kernel_new(primes, PRIMES, 76, 11, 83, set, &c), "kernel_new");
    must(kernel_new(primes, PRIMES + 1, 76, 11, 83, set, &switching), "kernel_new");
    kernel_context *maker = raised ? switching : c; /* of operands */
    state = 7;
    uint32_t tiles = (y->k + y->k_tile - 1) / y->k_tile, columns = (y->n + y->n_tile - 1) / y->n_tile;
    uint32_t groups = (y->m + y->rows - 1) / y->rows, parts = tiles * columns, sums = groups * columns;
    uint32_t replies = (sums + y->packed - 1) / y->packed;
    uint64_t room = kernel_workspace_words(maker), *workspace = fresh(8 * room), *c0 = fresh(8 * (PRIMES + 1) * N);
    uint64_t stream_bytes = kernel_stream_bytes(maker), packed_bytes = kernel_packed_bytes(maker);
    uint8_t *packed = fresh(packed_bytes), *words = fresh(8 * N);
    int8_t *ternary = fresh(N), *error = fresh(N);
    state = 8;
    uint8_t *first = fresh(8 * N), *second = fresh(8 * N);
    must(kernel_ternary(first, 8 * N, ternary), "kernel_ternary");
    must(kernel_error(second, 8 * N, error), "kernel_error");
    must(kernel_secret_new(c, ternary, &secret), "kernel_secret_new");
    must(kernel_secret_new(maker, ternary, &of_operands), "kernel_secret_new");
    uint64_t *key = fresh(8 * kernel_operand_words(maker, 1)), *operand = fresh(8 * kernel_operand_words(maker, parts));
    for (uint32_t i = 0; i <= parts; i++) { /* the first is the public key */
        state = 100 + i;
        uint8_t *stream = fresh(stream_bytes);
        uint64_t *message = fresh(8 * N);
        must(kernel_zero(maker, of_operands, stream, stream_bytes, error, c0), "kernel_zero");
        if (i) must(kernel_add_message(maker, message, N, c0), "kernel_add_message");
        must(kernel_pack(maker, c0, packed, packed_bytes), "kernel_pack");
        must(i ? kernel_load(maker, packed, packed_bytes, stream, stream_bytes, operand, parts, i - 1, workspace, room)
               : kernel_load(maker, packed, packed_bytes, stream, stream_bytes, key, 1, 0, workspace, room), "kernel_load");
        free(stream);
        free(message);
    }
    state = 9;
    int64_t *factor = fresh(8ull * y->m * y->k);
    uint64_t *addend = fresh(8ull * y->m * y->n), *results = fresh(8ull * y->m * y->n);
    for (uint64_t i = 0; i < (uint64_t)y->m * y->k; i++) factor[i] >>= 5;
    uint64_t **masks = malloc(replies * sizeof *masks), **summed = malloc(sums * sizeof *summed);
    for (uint32_t i = 0; i < replies; i++) {
        masks[i] = fresh(8 * kernel_mask_words(c));
        must(kernel_mask(c, ternary, key, masks[i], workspace, room), "kernel_mask");
    }
    for (uint32_t i = 0; i < sums; i++) summed[i] = y->packed > 1 ? fresh(8 * kernel_mask_words(maker)) : masks[i];
    uint64_t *keys = y->packed > 1 ? switching_keys(switching, KEYS) : NULL;
    uint8_t *out = calloc(1, (uint64_t)replies * N * 20 + 8ull * y->m * y->n);
    product made = {.c = c, .switching = switching, .maker = maker, .y = y, .raised = raised, .groups = groups, .factor = factor,
                    .operand = operand, .keys = keys, .addend = addend, .masks = masks, .sums = summed, .error = error, .out = out};
    for (uint32_t j = 0; j < sums; j++) {
        uint32_t g = j / columns, t = j % columns;
        uint32_t rows = y->m - g * y->rows < y->rows ? y->m - g * y->rows : y->rows;
        made.noise[j / y->packed] += 6ull * rows * (y->n - t * y->n_tile < y->n_tile ? y->n - t * y->n_tile : y->n_tile);
    }
    for (uint32_t i = 0; i < replies; i++) {
        state = 500 + i;
        made.flooding[i] = fresh(8 * made.noise[i]);
    }
    make(&made, callers);
    *length = 0;
    for (uint32_t i = 0; i < replies; i++) {
        uint64_t bytes = kernel_reply_bytes(c, y, i);
        must(kernel_decrypt(c, secret, y, i, out + *length, bytes, results, workspace, room), "kernel_decrypt");
        *length += bytes;
        free(made.flooding[i]);
        free(masks[i]);
    }
    for (uint32_t i = 0; keys && i < sums; i++) free(summed[i]);
    memcpy(out + *length, results, 8ull * y->m * y->n);
    *length += 8ull * y->m * y->n;
    kernel_secret_free(secret);
    kernel_secret_free(of_operands);
    kernel_free(c);
    kernel_free(switching);
    void *all[] = {workspace, c0,     packed,  words, ternary, error,  first, second, key,
                   operand,   factor, addend, results, masks, summed, keys};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return out;
}

/* The map to the curve has one set of instructions only: beside what protocols/psi/encode.py has, as test_elligator.py does. */
static void check_map(void) {
    static const uint8_t LAST[32] = {0xe8, 0xd7, 0x15, 0x2c, 0xe1, 0xe2, 0xf4, 0x6c, 0x2f, 0x49, 0xce, 0x83, 0x06, 0xbb, 0x65, 0x56,
                                     0x39, 0x50, 0x53, 0x1f, 0x4f, 0xf2, 0x5b, 0x68, 0x02, 0xe4, 0xb8, 0xcc, 0xce, 0xcf, 0xf8, 0x51};
    uint8_t uniform[48], expected[32], point[32];
    memset(uniform, 0, sizeof uniform);
    memset(expected, 0, sizeof expected);
    kernel_map_to_curve(uniform, point);
    must(memcmp(point, expected, 32) != 0, "the map of 0");
    memset(uniform + 16, 0xff, 32);
    uniform[16] = 0x7f, uniform[47] = 0xee; /* 2^255 - 18, which is 1 */
    memset(expected, 0x55, sizeof expected);
    expected[0] = 0x9c, expected[1] = 0xdb, expected[2] = 0x52;
    kernel_map_to_curve(uniform, point);
    must(memcmp(point, expected, 32) != 0, "the map of p + 1");
    memset(uniform, 0xff, sizeof uniform);
    kernel_map_to_curve(uniform, point);
    must(memcmp(point, LAST, 32) != 0, "the map of 2^384 - 1");
    printf("map to the curve: same\n");
}

int main(int count, char **arguments) {
    check_map();
    int is_packed = count > 1 && !strcmp(arguments[1], "packed"), is_quick = is_packed || (count > 1 && !strcmp(arguments[1], "quick"));
    char names[64];
    snprintf(names, sizeof names, "%s", kernel_instruction_sets());
    for (unsigned size = 0; size < sizeof SIZES / sizeof *SIZES; size++) {
        for (unsigned at = 0; at < 2 * sizeof LAYOUTS / sizeof *LAYOUTS; at++) {
            unsigned i = at / 2, raised = at % 2;
            if (((raised || is_packed) && LAYOUTS[i].packed == 1) || (is_quick && i % (sizeof SIZES / sizeof *SIZES) != size)) continue;
            uint64_t length, other;
            uint8_t *expected = run("scalar", SIZES[size], &LAYOUTS[i], raised, 1, &length);
            char list[64];
            memcpy(list, names, sizeof list);
            for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
                uint8_t *found = run(name, SIZES[size], &LAYOUTS[i], raised, CALLERS, &other);
                int same = length == other && !memcmp(expected, found, length);
                printf("primes %u layout %u%s %s: %s\n", size, i, raised ? " raised" : "", name, same ? "same" : "DIFFERENT");
                free(found);
                if (!same) return 1;
            }
            free(expected);
        }
    }
    return 0;
}
