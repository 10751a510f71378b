/* Lattice arithmetic of the bfv scheme over Z_q[X] / (X^8192 + 1), q a product of primes that are 1 mod 16384.
 *
 *   owner                                                   evaluator
 *   kernel_secret_new                                       kernel_load (public key: one part)
 *   kernel_zero, kernel_add_message, kernel_pack            kernel_load (operand: all parts)
 *   kernel_decrypt                                          kernel_mask, kernel_products, kernel_reply
 *
 * Names: N = 8192, L primes, t = 2^59 the plain modulus, W scale_bits, D drop_bits.
 * Forms of a polynomial:
 *   residues    uint64 [L][N], coefficients, row l below prime l
 *   transform   uint64 [L][N], values at the roots in bit-reversed order with the least primitive 2N-th root: SEAL's
 *   internal    words whose meaning depends on the context (its instruction set); never sent, never read elsewhere
 * No function draws randomness, keeps state, or fails otherwise than by its status. All are safe to call at once from any
 * number of threads on different outputs. Secrets never steer a branch or an index. Pointers need the alignment of their
 * type only; 64 bytes is faster.
 */
#ifndef SECURE_HFL_KERNEL_H
#define SECURE_HFL_KERNEL_H
#include <stdint.h>

/* cffi reads from here */
#define KERNEL_INTERFACE 7 /* changes with every function below: kernel.py takes a module of its own number only */
#define KERNEL_DEGREE 8192
#define KERNEL_MAX_PRIMES 7
#define KERNEL_RING_BITS 59
#define KERNEL_MIN_SCALE_BITS 61
#define KERNEL_MAX_SCALE_BITS 96
#define KERNEL_MAX_DROP_BITS 20
#define KERNEL_MIN_FLOOD_BITS 64
#define KERNEL_MAX_FLOOD_BITS 124
#define KERNEL_PROGRESS_WORDS 16

#define KERNEL_OK 0
#define KERNEL_BAD_ARGUMENT 1 /* a number, shape or length that the caller chose is out of range */
#define KERNEL_BAD_LENGTH 2   /* a peer's bytes are not as many as the shape says */
#define KERNEL_BAD_RESIDUE 3  /* a peer's residue is not below its prime */
#define KERNEL_BAD_PADDING 4  /* bits are set beyond the last value of a peer's bytes */
#define KERNEL_TRANSPARENT 5  /* a peer's polynomial is zero: nothing is encrypted */
#define KERNEL_SHORT_STREAM 6 /* too many draws were skipped: call again with more bytes of the same stream */
#define KERNEL_NO_MEMORY 7
#define KERNEL_UNSUPPORTED 8  /* this build or this processor lacks that instruction set */
#define KERNEL_LEFT 9         /* the others do the rest: see kernel_share */

typedef struct kernel_context kernel_context;
typedef struct kernel_secret kernel_secret;

/* One product X [m, k] M [k, n] in tiles, as protocols/he/layout.py has it:
 * operand part t * k_tiles + c holds M[c k_tile + a, t n_tile + j] at coefficient j k_tile + a;
 * the reply of row group g and n tile t holds result [g rows + i, t n_tile + j] at
 * coefficient i k_tile n_tile + j k_tile + k_tile - 1. A reply is made of up to `packed` such sums (1, 4, 8, 16 or 32;
 * k_tile is a multiple of it), in the order of groups, then tiles: protocols/he/packing.py. */
typedef struct {
    uint32_t m, k, n, k_tile, n_tile, rows, packed;
} kernel_layout;

/* Several callers can make one thing: each makes the same calls with the same arguments, but for a share of its own. The work is
 * cut into items, and whoever is free takes the next one, so that nobody waits for what nobody has begun: callers may come late,
 * or never. When a call of number 0 returns, all is done. Others return when there is nothing to begin, or with KERNEL_LEFT when
 * one that they wait for seems to have no core: then they make no more calls, and the work goes on without them. NULL in place
 * of a share: one caller. */
typedef struct {
    uint32_t number, count; /* of this caller, and of all */
    uint64_t begun;         /* 0 before the first call */
    uint64_t *progress;     /* KERNEL_PROGRESS_WORDS zeros, of all callers */
} kernel_share;

/* What this build can run on this processor, best first, by comma: of "ifma", "avx2", "neon", "scalar". */
const char *kernel_instruction_sets(void);

/* primes: count distinct ones in (2^46, 2^50), 1 mod 16384. instruction_set: a name, or "" for the best. */
int kernel_new(const uint64_t *primes, uint32_t count, uint32_t scale_bits, uint32_t drop_bits, uint32_t flood_bits,
               const char *instruction_set, kernel_context **out);
void kernel_free(kernel_context *context);
const char *kernel_instruction_set(const kernel_context *context);

/* Sizes. 0 where the layout or index is not valid. */
uint64_t kernel_packed_bytes(const kernel_context *context);                   /* of one packed residues */
uint64_t kernel_operand_words(const kernel_context *context, uint32_t parts);  /* internal: a loaded operand */
uint64_t kernel_mask_words(const kernel_context *context);                     /* internal: a reply's mask or sum */
uint64_t kernel_stream_bytes(const kernel_context *context);                   /* nearly always enough for a uniform */
uint64_t kernel_workspace_words(const kernel_context *context);                /* for all but kernel_products */
uint64_t kernel_products_workspace_words(const kernel_context *context, const kernel_layout *layout,
                                         uint32_t first_group, uint32_t end_group); /* of each caller */
uint64_t kernel_packed_workspace_words(const kernel_context *context, const kernel_layout *layout, uint32_t raised,
                                       uint32_t callers);
uint64_t kernel_reply_bytes(const kernel_context *context, const kernel_layout *layout, uint32_t part);

/* From uniform words (little-endian bytes). ternary: word mod 3 as 0, 1, -1. error: ones of bits 0..20 less those of
 * bits 32..52. uniform, in transform form: draws of ceil(bits / 8) bytes, bits the prime's bit length; the low `bits` of
 * each count; those not below the prime are skipped; prime 0 takes N of them, then prime 1 goes on where it stopped. */
int kernel_ternary(const uint8_t *words, uint64_t bytes, int8_t *out);
int kernel_error(const uint8_t *words, uint64_t bytes, int8_t *out);
int kernel_uniform(const kernel_context *context, const uint8_t *stream, uint64_t bytes, uint64_t *out);

/* One row of residues to transform form and back, in place, canonical on both sides. */
int kernel_forward(const kernel_context *context, uint32_t prime, uint64_t *values);
int kernel_inverse(const kernel_context *context, uint32_t prime, uint64_t *values);

/* A key of N coefficients -1, 0, 1. kernel_secret_free overwrites it. */
int kernel_secret_new(const kernel_context *context, const int8_t *ternary, kernel_secret **out);
void kernel_secret_free(kernel_secret *secret);

/* c0 = -(a s + e), residues, for a expanded from the stream. error: [N], |e| <= 21. */
int kernel_zero(const kernel_context *context, const kernel_secret *secret, const uint8_t *stream, uint64_t bytes,
                const int8_t *error, uint64_t *c0);
/* c0[i] += round(q m[i] / t) for count ring elements (bits above 2^59 are ignored). */
int kernel_add_message(const kernel_context *context, const uint64_t *message, uint32_t count, uint64_t *c0);
/* Each prime at its own bit length, prime by prime, least significant bit first. */
int kernel_pack(const kernel_context *context, const uint64_t *residues, uint8_t *out, uint64_t bytes);
int kernel_unpack(const kernel_context *context, const uint8_t *packed, uint64_t bytes, uint64_t *residues);

/* One part (packed c0, and the stream of c1) of an operand of `parts` parts, to internal form. A public key is an operand
 * of one part. Refuses a c0 that is zero modulo any prime. */
int kernel_load(const kernel_context *context, const uint8_t *packed, uint64_t packed_bytes, const uint8_t *stream,
                uint64_t stream_bytes, uint64_t *operand, uint32_t parts, uint32_t part, uint64_t *workspace,
                uint64_t workspace_words);
/* u * key, internal. ternary: u, [N]. */
int kernel_mask(const kernel_context *context, const int8_t *ternary, const uint64_t *key, uint64_t *mask,
                uint64_t *workspace, uint64_t workspace_words);
/* Adds to each reply's mask the sum over k tiles of factor tile * operand part: for groups first_group <= g < end_group
 * and all n tiles t, in that order, one pointer per sum. A mask becomes a sum and serves no other reply. Where packed > 1,
 * the pointers are to room for sums, which start from zero whatever was there. factor: [m][k], any int64. */
int kernel_products(const kernel_context *context, const kernel_layout *layout, uint32_t first_group, uint32_t end_group,
                    const int64_t *factor, const uint64_t *operand, uint64_t *const *masks, kernel_share *share,
                    uint64_t *workspace, uint64_t workspace_words);
/* One reply's bytes from its sum, which is overwritten. addend: [m][n] ring elements, of which the reply's window is used.
 * flooding: words [2][3][count], count the results of this reply: the upper 62 bits of a word are the high ones of
 * three integers each, then its upper flood_bits - 62 their low ones. error: e2, [N].
 * Bytes: c0 at results, W - D bits each, row by row, filled to a byte; then c1, W bits each, N of them. With C_l the
 * integer nearest to 2^(W + 52) / p_l, both are
 *     (2^51 + sum over l of C_l (c_l (q / p_l)^-1 mod p_l)) / 2^52, rounded down, mod 2^W,
 * which is c 2^W / q rounded, but for an error below sum of p_l / 2^53. c0 + 2^(D-1) loses its D low bits. */
int kernel_reply(const kernel_context *context, const kernel_layout *layout, uint32_t part, uint64_t *sum,
                 const int8_t *error, const uint64_t *flooding, uint64_t flooding_words, const uint64_t *addend,
                 uint8_t *body, uint64_t body_bytes, uint64_t *workspace, uint64_t workspace_words);
/* The same for layouts with packed > 1: from the reply's sums and its mask. switching: a context of the same instruction
 * set, with one more prime P, all of one length; keys: an operand of it with key_parts parts, L for each automorphism that
 * these sums need. raised: 1 where the sums are those of `switching`, of which the reply then has 1/P; else 0. Sums are
 * overwritten. flooding: the words of each sum, one sum after the other. */
int kernel_packed_reply(const kernel_context *context, const kernel_context *switching, uint32_t raised, const uint64_t *keys,
                        uint32_t key_parts, const kernel_layout *layout, uint32_t part, uint64_t *const *sums, const uint64_t *mask,
                        const int8_t *error, const uint64_t *flooding, uint64_t flooding_words, const uint64_t *addend,
                        uint8_t *body, uint64_t body_bytes, kernel_share *share, uint64_t *workspace,
                        uint64_t workspace_words);
/* One reply's results into their windows of out [m][n]: round((c0 + c1 s) t / 2^W) mod t. Refuses a c1 of zero. */
int kernel_decrypt(const kernel_context *context, const kernel_secret *secret, const kernel_layout *layout, uint32_t part,
                   const uint8_t *body, uint64_t body_bytes, uint64_t *out, uint64_t *workspace,
                   uint64_t workspace_words);

/* Apart from all that: 48 uniform bytes, big-endian, to the u-coordinate of a point of Curve25519, 32 bytes little-endian, by
 * Elligator 2, in steps that do not depend on them. */
void kernel_map_to_curve(const uint8_t *uniform, uint8_t *point);
/* cffi reads to here */
#endif
