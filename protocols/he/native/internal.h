/* What the files of the kernel share. Each instruction set compiles transform.inc, products.inc, conversions.inc,
 * switching.inc and pairs.inc over its own vectors and publishes them as `operations`; everything else is written once, over words. */
#ifndef SECURE_HFL_KERNEL_INTERNAL_H
#define SECURE_HFL_KERNEL_INTERNAL_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernel reads and writes words as little-endian bytes"
#endif

typedef uint64_t u64;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint8_t u8;
__extension__ typedef unsigned __int128 u128; /* not in ISO C, but in every compiler for 64 bits that we take */

#define N KERNEL_DEGREE
#define LOG_N 13
#define BLOCK 64 /* points that stay together: [N / BLOCK] blocks are the unit of products */
#define BLOCKS (N / BLOCK)
#define MIN_PRIME_BITS 47
#define MAX_PRIME_BITS 50
#define NARROW_BITS 48 /* up to here values may grow to 16 p unreduced in 52 bits */
#define MAX_CHUNK 32
#define NUMBERS 64 /* messages and flooding that are converted at once */
#define JOINED 4     /* sums that key switching joins at once; more meet in pairs before */
#define LEVELS 3     /* of pairs: s = 16, 8 and 4 coefficients apart */
#define SPACING(level) (16u >> (level)) /* s */
#define MAX_PACKED (JOINED << LEVELS)
#define MAX_CALLERS 16
#define RESULT_PRIMES 3 /* most primes that hold c1 s, at most 2^(W - 1) N in size */

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* A constant factor w with what its set multiplies by to find the quotient: words, or doubles by their bits. */
typedef struct {
    u64 value, quotient;
} twiddle;

typedef struct {
    u64 p;
    u32 bits;
    int wide;              /* p > 2^48: sums are reduced at every step */
    u32 chunk;             /* most products that a sum takes before it is reduced */
    u64 word, word_shoup;  /* 2^64 mod p; and, as for every _shoup, floor(2^64 x / p) */
    u64 one_shoup;
    u64 one_52;            /* floor(2^52 / p) */
    twiddle message_low, message_high; /* 1 / t, and times 2^32: of round(q m / t) */
    u64 message_shift;
    u64 flood_offset;      /* the centre of the flooding, negated */
    u64 minus_half_w;      /* -2^(W - 1) mod p */
    twiddle two_52, two_104, two_32;
    u64 minus_two_63;
    twiddle last;          /* 1 / N */
    twiddle quarters[4];   /* powers of X^(N / 2) at the least root */
    twiddle hat;           /* (q / p)^-1 mod p */
    u64 hat_word, hat_shoup;
    u64 scale_high, scale_low; /* 2^(W + 52) / p to the nearest, 52 bits low */
    /* Roots by their place in the tree of butterflies: node 1 first, children of i at 2 i and 2 i + 1. */
    twiddle *forward, *inverse;
    /* The last stages, within vectors: [N / lanes^2][lanes - 1 nodes][value, quotient][lanes]. */
    u64 *forward_lanes, *inverse_lanes;
    /* Of pairs of sums, by level: X^-s as a transform, internal [N]; and what its automorphism turns coefficients by, for each
     * odd power of the least root that X^(N/s) is at a block: [s odd powers][2 s / lanes][value, quotient][lanes]. */
    u64 *shifts[LEVELS], *twists[LEVELS];
} modulus;

struct operations;

struct kernel_context {
    u32 count, scale_bits, drop_bits, flood_bits;
    u64 q_mod_t;
    const struct operations *set;
    modulus *moduli;
    u32 result_primes;      /* how many primes decryption needs */
    u64 garner[RESULT_PRIMES], garner_shoup[RESULT_PRIMES]; /* 1 / (p_0 .. p_{i-1}) mod p_i */
};

struct kernel_secret {
    u64 words;
    u64 *key; /* internal [L][N] */
};

/* What some sums of R primes each are joined from and in, by p - 1 automorphisms; D = (p - 1) L. */
typedef struct {
    const kernel_context *c, *switching;
    u32 packed, count; /* p; sums: as many as can be joined, and as there are */
    u32 rows;          /* R: L, or one more where P divides what the sums become */
    u64 *const *sums;
    const u64 *keys, *mask;
    u32 key_parts, first_key; /* parts of `keys`, and the first one that is used */
    const int8_t *error;
    u64 divisors[KERNEL_MAX_PRIMES]; /* 1 / P modulo each data prime */
    u64 *results; /* [R][N]: what is added to c0, log BLOCK stages before the transform ends, times BLOCK; NULL: nothing */
    u64 *digits;  /* [p - 1][R][N], residues */
    u64 *own;     /* [D][N]: the same modulo their own primes, transformed, times a power of two; internal. Not where R > L */
    u64 *started; /* [D][N]: transforms modulo one other prime, under way; one for each caller, as what follows it */
    u64 *scratch; /* [N] */
    u64 *parts;   /* [2][R][N]: what is added to c0 and c1, log p stages before the transform ends; internal */
    u64 *total;   /* [2][L + 1][N]: residues in the end */
} packing;

/* Values of "internal" form: below 2 p, or of size p / 2 as doubles; see the sets. In all, arrays may be the same. */
typedef struct operations {
    const char *name;
    u32 lanes;
    twiddle (*make)(u64 value, u64 p);
    void (*forward)(const modulus *m, u64 *values);           /* residues to internal */
    void (*inverse)(const modulus *m, u64 *values);           /* internal to residues */
    void (*from_transform)(const modulus *m, u64 *values);    /* transform to internal */
    void (*to_transform)(const modulus *m, u64 *values);
    void (*multiply)(const modulus *m, const u64 *left, const u64 *right, u64 *out, u32 count);
    void (*add)(const modulus *m, const u64 *from, u64 *to, u32 count);
    /* out = round(c 2^W / q) mod 2^W by kernel.h's formula, as 52 low bits and the others; rows of c are `stride` apart */
    void (*scale)(const kernel_context *c, const u64 *residues, u64 stride, u64 *low, u64 *high, u32 count);
    /* integers mod 2^W in those two words, centred, to residues */
    void (*lift)(const kernel_context *c, const modulus *m, const u64 *low, const u64 *high, u64 *out);
    /* row += numbers [5][NUMBERS] as put_message and put_flooding make them; room for NUMBERS each */
    void (*add_numbers)(const modulus *m, const u64 *numbers, int flooded, u32 count, u64 *row);
    void (*products)(const kernel_context *c, const kernel_layout *y, u32 prime, u32 first_group, u32 end_group, const i64 *factor,
                     const u64 *operand, u64 *const *masks, u64 *workspace);
    /* The steps of a packed reply that go over polynomials: see switching.inc and pairs.inc. */
    void (*fold)(const packing *task, u32 prime);
    void (*lower)(const packing *task, u32 prime, u32 number); /* of p - 1 */
    void (*settle)(const packing *task, u32 prime);
    void (*switch_keys)(const packing *task, u32 prime);
    void (*divide)(const packing *task, u32 prime, u32 half);
    void (*pick)(const modulus *m, const u64 *row, u32 period, u64 *out);
    void (*forward_blocks)(const modulus *m, u64 *row); /* the last 6 stages of a transform */
    void (*scale_values)(const modulus *m, u64 factor, u64 *values, u32 count);
    void (*meet)(const packing *task, u32 prime, u32 level, u64 *first, u64 *second);
    void (*switch_pair)(const packing *task, u32 prime, const u64 *sums, u64 *c0, u64 *c1);
} operations;

extern const operations kernel_set_scalar;
#if defined(__x86_64__)
extern const operations kernel_set_ifma, kernel_set_avx2;
#endif
#if defined(__aarch64__)
extern const operations kernel_set_neon;
#endif

/* ---- words */

INLINE u64 load_word(const u8 *at) {
    u64 word;
    memcpy(&word, at, 8);
    return word;
}

INLINE void store_word(u8 *at, u64 word) { memcpy(at, &word, 8); }

INLINE u64 once(u64 x, u64 p) { /* x < 2 p to [0, p), no branch */
    u64 less = x - p;
    return less + (p & (0 - (less >> 63)));
}

INLINE u64 shoup_of(u64 w, u64 p) { return (u64)(((u128)w << 64) / p); }

INLINE u64 times(u64 x, u64 w, u64 shoup, u64 p) { /* x w mod p, in [0, 2 p), for any word x and w < p */
    return x * w - (u64)(((u128)x * shoup) >> 64) * p;
}

INLINE u64 any_mod(u64 x, const modulus *m) { /* any word, to [0, p) */
    return once(x - (u64)(((u128)x * m->one_shoup) >> 64) * m->p, m->p);
}

INLINE u64 small_mod(i64 x, u64 p) { return (u64)x + (p & (u64)(x >> 63)); } /* |x| < p, to [0, p) */

u64 power_mod(u64 base, u64 exponent, u64 p); /* constants only: its time depends on what it is given */

/* ---- layouts */

INLINE u32 ceil_div(u32 a, u32 b) { return (a + b - 1) / b; }
INLINE u32 k_tiles(const kernel_layout *y) { return ceil_div(y->k, y->k_tile); }
INLINE u32 n_tiles(const kernel_layout *y) { return ceil_div(y->n, y->n_tile); }
INLINE u32 groups(const kernel_layout *y) { return ceil_div(y->m, y->rows); }

int layout_is_valid(const kernel_layout *y);
/* Where one reply's results are. */
typedef struct {
    u32 row, column, rows, columns;
} window;
int window_of(const kernel_layout *y, u32 group, u32 tile, window *out); /* 0: no such sum */
u32 sums_of(const kernel_layout *y, u32 part);    /* of one reply; 0: no such reply, or no valid layout */
u32 results_of(const kernel_layout *y, u32 part); /* of one reply */
/* How far apart the results of each sum are before `count` of them become one reply: 4 or a larger power of two. */
INLINE u32 spacing(u32 count) {
    u32 all = JOINED;
    while (all < count) all *= 2;
    return all;
}
/* How far the results of sum j move where `count` sums become one reply. */
INLINE i64 moved_by(u32 count, u32 j) { return count > 1 ? (i64)j - (i64)(spacing(count) - 1) : 0; }

/* Factors as rows, whose transforms share most of their work: tiles are powers of two and fill the polynomial. */
INLINE int is_pruned(const kernel_layout *y) {
    u32 span = y->k_tile * y->n_tile;
    return span >= BLOCK && !(span & (span - 1)) && !(y->k_tile & (y->k_tile - 1)) && y->k_tile <= BLOCK && y->rows * span == N;
}
/* Words of a tile in such a row: what has fewer values is repeated, so that vectors of any set are full. */
INLINE u32 tile_words(const kernel_layout *y) { return y->k_tile < 8 ? 8 : y->k_tile; }

/* ---- packing.c */
u64 packed_bytes(u64 count, u32 width);
int unpack_prime(const modulus *m, const u8 *packed, u64 *row);
/* Values of two words, 52 bits low, of `width` bits in all, from 41 to 96. */

void pack_wide(const u64 *low, const u64 *high, u32 count, u32 width, u8 *out);
int unpack_wide(const u8 *in, u32 count, u32 width, u64 *low, u64 *high);

/* ---- evaluator.c */
void gather(const kernel_context *c, const kernel_layout *y, const window *at, const u64 *c0, i64 moved, const u64 *flooding,
            const u64 *addend, u64 *out);
void add_error(const modulus *m, const int8_t *error, u64 *row);
/* A reply's body is c0 at its results, then c1: both are written in pieces of WRITTEN values, which fill whole bytes. */
#define WRITTEN 2048
INLINE u32 written_pieces(u32 count) { return ceil_div(count, WRITTEN); }
/* Piece `number` of `count` values, rows N apart, without their `drop` lowest bits. halves: 2 N words of room for all. */
void write_values(const kernel_context *c, const u64 *residues, u32 count, u32 number, u32 drop, u8 *body, u64 *halves);

/* ---- sharing.c: kernel.h has what callers may do. Each goes through the same steps, and takes items of them. */
typedef struct {
    u64 *next, *done; /* of all items of all steps: the first that nobody has begun, and how many are done */
    u64 *before;      /* items of the steps before this one */
    int holds, stays, has_left;
    u64 alone[3];
} team;
void join_team(team *t, kernel_share *share);
/* for (u32 item; take(t, count, &item);) is one step: it waits until the steps before are done. An item is done when its taker
 * asks for the next. */
int take(team *t, u32 count, u32 *item);
int end_of_work(team *t); /* a status */
INLINE u32 number_in(const kernel_share *share) { return share ? share->number : 0; }
INLINE u32 callers_in(const kernel_share *share) { return share ? share->count : 1; }
INLINE int share_is_valid(const kernel_share *share) {
    return !share || (share->progress && share->number < share->count && share->count <= MAX_CALLERS);
}

/* ---- context.c */
void wipe(void *at, size_t bytes);

/* ---- conversions.c */
void put_message(u64 message, const kernel_context *c, u64 *numbers);
void put_flooding(const u64 *words, u64 stride, const kernel_context *c, u64 *numbers);
void scale_words(const kernel_context *c, const u64 *residues, u64 stride, u64 *low, u64 *high, u32 count);
#endif
